"""`partialfc data stats` and `data show`: what they print and write, and places that take no file."""

import json
from pathlib import Path

import pytest

from partialfc.data.images.codec import decode
from tests.data.sources.cases import put
from tests.processes import call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put(tmp_path / "in", *(f"{name}/{n}.png" for name in ("ant", "bee") for n in range(3)))


def test_stats_are_printed_and_written(folder: Path, tmp_path: Path) -> None:
    page, report = tmp_path / "a.html", tmp_path / "a.json"
    done = call("data", "stats", folder, "--page", page, "-o", report)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{folder}: 6 images of 2 classes, 3 a class")
    told = json.loads(report.read_text())
    assert told["images_a_class"]["classes_by_images"] == {"3": 2}
    assert "2..3" in page.read_text()
    printed = call("data", "stats", folder, "--json")
    assert json.loads(printed.stdout) == told


def test_a_sheet_is_drawn_of_some_images_of_a_class_and_of_keys(folder: Path, tmp_path: Path) -> None:
    sheet, keys = tmp_path / "sheet.png", tmp_path / "keys.txt"
    keys.write_text("ant/1.png\nbee/0.png\tbroken\n")
    (folder / "bee/0.png").write_bytes(b"no image")
    for words, count in (((), 6), (("--count", "2"), 2), (("--class", "ant"), 3), (("--only", keys), 2)):
        done = call("data", "show", folder, "-o", sheet, *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{sheet}: {count} images\n"
        assert decode(sheet.read_bytes()).shape[1] > 112


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["stats", "in", "--page", "a.txt"], "ConfigError: --page is 'a.txt'"),
        (["stats", "in", "-o", "nowhere/a.json"], "ConfigError: --output is 'nowhere/a.json'"),
        (["stats", "gone"], "DataError: gone: does not exist"),
        (["show", "in", "-o", "a.jpg"], "ConfigError: --output is 'a.jpg'; it must be a .png file"),
        (["show", "in", "-o", "a.png", "--class", "ants"], "no class 'ants'; did you mean 'ant'?"),
    ],
    ids=["page", "report", "no source", "no sheet", "no class"],
)
def test_what_cannot_be_is_told_in_a_line(folder: Path, tmp_path: Path, words: list[str], says: str) -> None:
    refused = call("data", *words, cwd=tmp_path)
    assert refused.returncode == 1
    assert says in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr
