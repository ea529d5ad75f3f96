"""The page and the lines of text on what a check found."""

import re
from html import unescape
from pathlib import Path

import pytest

from partialfc.data.check.check import check_source
from partialfc.data.check.findings import TITLES
from partialfc.data.check.kinds import Kind
from partialfc.data.sources.source import open_source
from partialfc.report import check_page
from partialfc.report.check_page import write_check_page
from partialfc.report.check_summary import check_summary
from tests.data.check.cases import SOUND, WRONG, wrong_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wrong_folder(tmp_path_factory.mktemp("wrong"))


def page_of(found, tmp_path: Path) -> str:
    return unescape(write_check_page(found, tmp_path / "a.html").read_text())


def test_a_page_shows_all_that_was_found(folder: Path, tmp_path: Path) -> None:
    page = page_of(check_source(open_source(folder), workers=0), tmp_path)
    for key in WRONG:
        assert f"{key}<small>" in page
    for key in SOUND:
        assert key not in page
    for kind, title in TITLES.items():
        assert (f"<h2>{title} <span" in page) == (kind not in {Kind.LABEL, Kind.TURNED, Kind.TRANSPARENT})
    assert page.count("<img") == len(WRONG) - 2
    assert page.count("cannot be shown") == 2
    assert "the files are the same, byte for byte" in page
    assert "Nothing was found that is: label out of range, turned by a viewer, transparent." in page
    assert re.search(r"48 x 48</td><td class=\"number\">14<", page)


def test_a_page_of_very_many_findings_says_how_many_it_leaves_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MOST_GROUPS", "MOST_SINGLE", "_SIZES"):
        monkeypatch.setattr(check_page, name, 1)
    monkeypatch.setattr(check_page, "MOST_IMAGES", 2)
    page = page_of(check_source(open_source(folder), workers=0, distance=16), tmp_path)
    assert "1 more images are not shown here; --json lists all" in page
    assert "1 more not shown" in page
    assert "And 1 other sizes." in page


def test_a_page_of_a_clean_source_says_so(folder: Path, tmp_path: Path) -> None:
    page = page_of(check_source(open_source(folder), skip=list(Kind), workers=0), tmp_path)
    assert "Nothing was found." in page
    assert "<img" not in page


def test_the_summary_has_a_line_for_each_kind_with_an_example(folder: Path) -> None:
    found = check_source(open_source(folder), workers=0)
    first, *lines = check_summary(found).splitlines()
    assert first.startswith(f"{folder}: 17 images of 2 classes; checked in ")
    assert lines[0].split(None, 3)[3] == "48 x 48 (14), 7 x 7 (1)"
    by_kind = {line.split()[0]: line[16:] for line in lines[2:]}
    assert list(by_kind) == [str(kind) for kind in Kind]
    assert by_kind["label"] == "none"
    assert by_kind["blank"] == "1 image, such as cat/blank.png: all of its pixels are nearly alike"
    assert by_kind["conflict"] == "1 group of 2 images, such as cat/both.png and dog/both.png"
