"""Pages: whole HTML that loads and runs nothing, whatever names and images it is given."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from partialfc.data.images.codec import decode
from partialfc.errors import ConfigError
from partialfc.report.page import (
    Section,
    bars,
    check_page,
    facts,
    folded,
    group,
    groups,
    page_text,
    paragraph,
    table,
    tiles,
    write_page,
)
from partialfc.report.tiles import Mark, Tile
from tests.disks import fill, small_disk

HOSTILE = "<script>alert(1)</script> \"'&amp; \x1b[31m\udce9"
WITHOUT_END = {"meta", "link", "img"}


class Outline(HTMLParser):
    """What is in a page: its words, the attributes of its elements; an AssertionError for a wrong end tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in WITHOUT_END:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.words.append(data)


def everything(name: str) -> str:
    shades = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    shown = [
        Tile(shades, name, detail=name),
        Tile(np.full((400, 100, 1), 90, np.uint8), name, mark=Mark.SUSPECT),
        Tile(None, name, mark=Mark.KEPT),
    ]
    return page_text(
        name,
        [paragraph(name), facts({name: name})],
        [
            Section(
                name,
                table([name, "n"], [(name, 1234), (name, 0.5)]),
                bars({name: 3, "b": 0}),
                count=7,
                bad=True,
            ),
            Section("b", groups([group(name, shown, note=name)]), tiles(shown), count=0, bad=True),
            Section("c", folded(name, paragraph(name)), bars({name: 3, "b": 0}), bars({})),
        ],
    )


def test_names_are_text_and_nothing_else():
    page, plain = Outline(everything(HOSTILE)), Outline(everything("a"))
    assert page.elements == plain.elements
    shown = HOSTILE.replace("\x1b", "�").replace("\udce9", "�")
    assert page.words == [
        re.sub(r"\ba\b", lambda _: shown, word) if word.strip() == "a" else word for word in plain.words
    ]
    assert "script" not in {tag for tag, _ in page.elements}


def test_a_page_needs_no_other_file():
    for tag, attributes in Outline(everything("a")).elements:
        for name in ("src", "href"):
            value = attributes.get(name) or "data:"
            assert value.startswith(("data:", "#section-")), (tag, value)
    assert "default-src 'none'" in everything("a")


def test_small_images_are_kept_to_the_pixel_and_large_ones_are_made_small():
    images = [
        decode(base64.b64decode(found))
        for found in re.findall(r'src="data:image/\w+;base64,([^"]+)"', everything("a"))
    ]
    assert [image.shape for image in images] == 2 * [(2, 2, 3), (160, 40, 3)]
    assert images[0].ravel().tolist() == list(range(12))
    assert abs(int(images[1].mean()) - 90) <= 1


def test_sections_are_listed_with_what_they_count():
    words = Outline(everything("a")).words
    assert words.count("7") == 2
    assert words.count("1,234") == 1
    assert '<a href="#section-2">b</a> <span class="count">0</span>' in everything("a")
    assert '<span class="bad">7</span>' in everything("a")
    assert "<nav" not in page_text("a", [], [Section("alone")])


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path):
    page = tmp_path / "a.html"
    assert write_page(page, page_text("ä", [paragraph("日本")], [])) == page
    assert "日本" in page.read_text(encoding="utf-8")
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        with pytest.raises(ConfigError, match=rf"cannot write the page {disk}/a.html: No space left"):
            write_page(disk / "a.html", page_text("a", [paragraph("x" * 10_000)], []))
        assert not (disk / "a.html").exists()


@pytest.mark.parametrize("place", ["/proc/x.html", "nowhere/x.html", "folder.html", "file/x.html"])
def test_a_place_that_cannot_be_written_is_named_with_the_reason(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=rf"cannot write the page {place}: \w.*; name a .html file"):
        write_page(Path(place), page_text("a", [], []))


def test_what_is_no_page_is_said_before_any_work(tmp_path):
    check_page("--page", None)
    check_page("--page", tmp_path / "a.html")
    for wrong in (tmp_path / "a.txt", tmp_path, tmp_path / "nowhere" / "a.html"):
        with pytest.raises(ConfigError, match=f"--page is '{wrong}'; it must be a .html file in a folder"):
            check_page("--page", wrong)
