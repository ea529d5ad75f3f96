"""Counts of a source are those of a plain loop, with any number of processes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partialfc.data.check.statistics import doubling, statistics_of
from partialfc.data.sources.pack import pack_source
from partialfc.data.sources.source import open_source
from partialfc.report.statistics_shown import statistics_text, write_statistics_page
from tests.data.sources.cases import png
from tests.data.sources.records import lines_of

KINDS = {  # by suffix, what Pillow saves
    "jpg": ("RGB", "JPEG", "colour"),
    "jpeg": ("L", "JPEG", "grey"),
    "png": ("RGB", "PNG", "colour"),
    "bmp": ("RGB", "BMP", "colour"),
    "webp": ("RGB", "WebP", "colour"),
    "pgm": ("L", "Netpbm", "grey"),
    "ppm": ("RGB", "Netpbm", "colour"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """ant has one image of each kind, bee two, of which one is none; cat has none."""
    folder = tmp_path / "images"
    for name in ("ant", "bee", "cat"):
        (folder / name).mkdir(parents=True)
    for number, (suffix, (mode, _, _)) in enumerate(KINDS.items()):
        Image.new(mode, (9, 8)).save(folder / f"ant/{number}.{suffix}")
    Image.new("LA", (5, 6)).save(folder / "bee/grey.png")
    (folder / "bee/none.jpg").write_bytes(b"no image")
    return folder


def test_the_least_of_classes_that_all_have_images(folder: Path) -> None:
    (folder / "cat").rmdir()
    assert statistics_of(open_source(folder)).document()["images_a_class"]["least"] == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_each_image_is_counted(folder: Path, workers: int) -> None:
    found = statistics_of(open_source(folder), workers=workers)
    assert found.of_class.tolist() == [7, 2, 0]
    assert found.looks.sizes == {(8, 9): 7, (6, 5): 1}
    assert found.looks.formats == {"JPEG": 2, "PNG": 2, "BMP": 1, "WebP": 1, "Netpbm": 2}
    assert found.looks.colours == {"colour": 5, "grey": 3}
    assert found.looks.unread == 1
    document = found.document()
    assert document["images_a_class"]["histogram"] == [
        {"from": 0, "to": 0, "classes": 1},
        {"from": 1, "to": 1, "classes": 0},
        {"from": 2, "to": 3, "classes": 1},
        {"from": 4, "to": 7, "classes": 1},
    ]
    assert document["images_a_class"]["classes_by_images"] == {"0": 1, "2": 1, "7": 1}
    assert document["images_a_class"]["smallest"][0] == {"class": "bee", "images": 2}
    assert document["images_a_class"]["quartiles"] == [1.0, 2.0, 4.5]
    assert (document["images_a_class"]["least"], document["images_a_class"]["most"]) == (0, 7)
    assert document["bytes"] == sum(
        file.stat().st_size for file in folder.rglob("*.*") if file.name != "none.jpg"
    )


def test_the_histogram_doubles_and_has_each_value_once() -> None:
    values = np.random.default_rng(0).integers(1, 5000, 3000)
    rows = doubling(values)
    assert [least for least, *_ in rows] == [rows[0][0] * 2**n for n in range(len(rows))]
    assert all(count == ((values >= least) & (values <= most)).sum() for least, most, count in rows)
    assert sum(count for *_, count in rows) == 3000
    edges = np.array([0, 1, 2, 3, 4, 7, 8, 2**40 - 1, 2**40])
    assert [(least, most) for least, most, count in doubling(edges) for _ in range(count)] == [
        (0, 0), (1, 1), (2, 3), (2, 3), (4, 7), (4, 7), (8, 15), (2**39, 2**40 - 1), (2**40, 2**41 - 1),
    ]  # fmt: skip
    assert doubling(np.zeros(0, np.int64)) == []


def test_damaged_records_are_counted_apart(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"in/{number % 2}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"in/{number % 2}/{number}.png").write_bytes(png(number))
    path = pack_source(tmp_path / "in", tmp_path / "out").path
    data = bytearray(path.read_bytes())
    data[int(lines_of(path)[4].split()[1])] ^= 1
    path.write_bytes(data)
    found = statistics_of(open_source(path))
    assert found.looks.unread == 1
    assert found.of_class.sum() + found.damaged == 4


def test_text_and_page_say_the_same(folder: Path, tmp_path: Path) -> None:
    found = statistics_of(open_source(folder))
    text = statistics_text(found)
    page = write_statistics_page(found, tmp_path / "a.html").read_text()
    assert text.startswith(f"{folder}: 9 images of 3 classes, 3 a class")
    lines = text.splitlines()
    assert lines[3].split() == ["0", "1", "#" * 40]
    assert lines[4].split() == ["1", "0"]
    assert lines[6].split() == ["4..7", "1", "#" * 40]
    assert "largest         ant (7), bee (2)" in lines
    assert "not read        1; see partialfc data check" in lines
    for shown in ("4..7", "8 x 9", "grey (3)", "ant"):
        assert shown in page
