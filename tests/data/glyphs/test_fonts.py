"""fonts: finding faces, what they map, and their ink."""

from pathlib import Path

import numpy as np
import pytest

from partialfc.data.glyphs.fonts import Pen, find_fonts, load_faces, matplotlib_fonts
from partialfc.errors import DataError
from tests.data.glyphs.fontmaker import make_font, pattern, save_collection, save_font


def test_fonts_are_found_below_folders_once_and_by_name(tmp_path: Path) -> None:
    for name in ("b/x.ttf", "a/deep/y.otf", "a/z.TTC", "a/readme.txt", "a/._z.ttf", "b/.git/w.ttf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "link.ttf").symlink_to(tmp_path / "b" / "x.ttf")
    found = find_fonts([tmp_path / "a", tmp_path / "b", tmp_path])
    assert [path.name for path in found] == ["x.ttf", "y.otf", "z.TTC"]


def test_a_folder_that_is_none_or_has_no_font_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder"):
        find_fonts([tmp_path / "nowhere"])
    with pytest.raises(DataError, match=r"no \.ttf, \.otf, \.ttc file"):
        find_fonts([tmp_path])


def test_a_face_lists_letters_numbers_punctuation_and_symbols_only(tmp_path: Path) -> None:
    kept, left = "aé9!€漢", " \u00a0\u0301\u200b\ue000\ufffd\u0085"
    kept += "\ufffd"  # a symbol like any other, as far as its category goes
    save_font(tmp_path / "f.ttf", {c: pattern(ord(c), weight=0) for c in kept + left})
    (face,) = load_faces(tmp_path / "f.ttf")
    assert sorted(map(chr, face.glyphs)) == sorted(kept)
    assert face.name == "f.ttf#0"
    assert not face.misnamed


def test_every_face_of_a_collection_is_loaded(tmp_path: Path) -> None:
    first = make_font({"a": pattern(1, weight=0), "b": pattern(2, weight=0)})
    second = make_font({"a": pattern(1, weight=2)})
    save_collection(tmp_path / "c.ttc", first, second)
    faces = load_faces(tmp_path / "c.ttc")
    assert [face.name for face in faces] == ["c.ttc#0", "c.ttc#1"]
    assert [sorted(map(chr, face.glyphs)) for face in faces] == [["a", "b"], ["a"]]
    thick, thin = (Pen(face).ink(face.glyphs[ord("a")], side=64) for face in faces)
    assert thick is not None
    assert thin is not None
    assert thick.sum() > thin.sum()


@pytest.mark.parametrize(
    "content", [b"", b"no font at all" * 9, b"\0\1\0\0\0\4" + b"\xff" * 70, b"ttcf" + b"\xff" * 40]
)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.ttf"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.ttf cannot be read as a font"):
        load_faces(path)


def test_a_truncated_font_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.ttf"
    save_font(path, {"a": pattern(1, weight=0)})
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match=r"cut\.ttf"):
        load_faces(path)


def test_a_face_whose_names_say_other_characters_is_misnamed(tmp_path: Path) -> None:
    letters = {c: pattern(ord(c), weight=0) for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
    save_font(tmp_path / "one.ttf", letters, names={"A": "arrowup"})
    save_font(tmp_path / "many.ttf", letters, names={"A": "arrowup", "B": "arrowdown", "C": "infinity"})
    assert [load_faces(tmp_path / f"{name}.ttf")[0].misnamed for name in ("one", "many")] == [False, True]


@pytest.mark.parametrize(
    ("font", "misnamed"), [("cmsy10", True), ("cmex10", True), ("STIXGeneralBol", False)]
)
def test_misnamed_faces_of_matplotlib(font: str, misnamed: bool) -> None:
    (face,) = load_faces(matplotlib_fonts() / f"{font}.ttf")
    assert face.misnamed is misnamed


@pytest.mark.parametrize("side", [16, 64, 200])
@pytest.mark.parametrize(
    ("width", "height"), [(800, 400), (400, 800), (100, 100), (10000, 500), (500, 8000), (40, 40), (900, 9)]
)
def test_ink_fills_its_square_and_is_cropped(tmp_path: Path, side: int, width: int, height: int) -> None:
    save_font(tmp_path / "f.ttf", {"a": [(-333, 77, width - 333, height + 77)]})
    (face,) = load_faces(tmp_path / "f.ttf")
    ink = Pen(face).ink(face.glyphs[ord("a")], side=side)
    assert ink is not None
    assert ink.dtype == np.uint8
    assert side <= max(ink.shape) <= side + 1
    area = side * side * min(width, height) / max(width, height)
    assert ink.sum() / 255 == pytest.approx(area, rel=0.03)
    assert ink[0].any()
    assert ink[-1].any()
    assert ink[:, 0].any()
    assert ink[:, -1].any()


def test_blanks_have_no_ink_and_specks_have_little(tmp_path: Path) -> None:
    save_font(tmp_path / "f.ttf", {"a": [], "b": [(0, 0, 2, 2)]})
    (face,) = load_faces(tmp_path / "f.ttf")
    blank, speck = (Pen(face).ink(face.glyphs[ord(character)], side=32) for character in "ab")
    assert blank is None
    assert speck is not None
    assert max(speck.shape) <= 4
