"""glyph_classes: what is a class and what is dropped, on fonts whose pictures are known."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from partialfc.data.glyphs.classes import PLACEHOLDER_CHARACTERS, choose_classes, same_pairs, survey
from partialfc.data.glyphs.fonts import load_faces
from partialfc.data.glyphs.pictures import same_picture
from tests.data.glyphs.fontmaker import FRAME, Drawing, make_font, pattern, save_collection, save_font


def letters(count: int, *, start: int = 0x4E00) -> list[str]:
    return [chr(start + index) for index in range(count)]


def drawn(characters: Sequence[str], *, weight: int) -> dict[str, Drawing]:
    return {character: pattern(ord(character), weight=weight) for character in characters}


def choose(
    folder: Path, fonts: Sequence[Mapping[str, Drawing]], *, min_faces: int
) -> tuple[dict[str, list[int]], dict[str, int]]:
    """The classes of fonts that are numbered in this order, and the counts of what was dropped."""
    for number, drawings in enumerate(fonts):
        save_font(folder / f"{number:02}.ttf", drawings)
    faces = [face for path in sorted(folder.glob("*.ttf")) for face in load_faces(path)]
    steps: list[tuple[str, int, int]] = []
    found = survey(faces, min_faces=min_faces, progress=lambda *step: steps.append(step))
    assert steps == [("surveying faces", at + 1, len(faces)) for at in range(len(faces))]
    classes, dropped = choose_classes(found, min_faces=min_faces)
    return {chr(code): drawn_by for code, drawn_by in classes.items()}, {
        k: v for k, v in dropped.items() if v
    }


def test_characters_of_enough_faces_are_classes(tmp_path: Path) -> None:
    fonts = [drawn("abcd", weight=0), drawn("abc", weight=1), drawn("ab", weight=2)]
    classes, dropped = choose(tmp_path, fonts, min_faces=2)
    assert classes == {"a": [0, 1, 2], "b": [0, 1, 2], "c": [0, 1]}
    assert dropped == {"rare characters": 1}


def test_blanks_and_boxes_for_missing_characters_are_dropped(tmp_path: Path) -> None:
    fonts = [drawn("abc", weight=weight) for weight in range(3)]
    fonts[1]["b"] = []
    fonts[2]["c"] = FRAME
    classes, dropped = choose(tmp_path, fonts, min_faces=2)
    assert classes == {"a": [0, 1, 2], "b": [0, 2], "c": [0, 1]}
    assert dropped == {"empty glyphs": 1, "missing-character glyphs": 1}


def test_a_face_of_placeholders_is_dropped_whole(tmp_path: Path) -> None:
    many = letters(3 * PLACEHOLDER_CHARACTERS)
    last_resort = dict.fromkeys(many[:-4], pattern(1, weight=0)) | dict.fromkeys(
        many[-4:], pattern(2, weight=0)
    )
    fonts = [drawn(many, weight=0), drawn(many, weight=1), last_resort]
    classes, dropped = choose(tmp_path, fonts, min_faces=2)
    assert list(classes) == many
    assert all(faces == [0, 1] for faces in classes.values())
    assert dropped == {"placeholder faces": 1, "placeholder glyphs": len(many)}


def test_a_good_face_loses_only_its_placeholders(tmp_path: Path) -> None:
    many = letters(4 * PLACEHOLDER_CHARACTERS)
    boxed = many[: PLACEHOLDER_CHARACTERS + 1]
    fonts = [drawn(many, weight=0), drawn(many, weight=1), drawn(many, weight=2)]
    fonts[2] |= dict.fromkeys(boxed, pattern(1, weight=0))
    classes, dropped = choose(tmp_path, fonts, min_faces=2)
    assert {character for character, faces in classes.items() if faces == [0, 1]} == set(boxed)
    assert dropped == {"placeholder glyphs": len(boxed)}


def test_no_picture_twice_in_a_class(tmp_path: Path) -> None:
    fonts = [drawn("abc", weight=weight) for weight in (0, 1, 0, 2)]
    fonts[3]["b"] = fonts[1]["b"]
    classes, dropped = choose(tmp_path, fonts, min_faces=3)
    assert classes == {"a": [0, 1, 3], "c": [0, 1, 3]}
    assert dropped == {"duplicate glyphs": 4, "rare characters": 1}


def test_no_picture_twice_though_it_lies_elsewhere_on_the_pixel_grid(tmp_path: Path) -> None:
    fonts = [drawn("ab", weight=weight) for weight in range(3)]
    fonts[2] = {
        character: [(left + 37, bottom - 41, right + 37, top - 41) for left, bottom, right, top in boxes]
        for character, boxes in fonts[0].items()
    }
    classes, dropped = choose(tmp_path, fonts, min_faces=2)
    assert classes == {"a": [0, 1], "b": [0, 1]}
    assert dropped == {"duplicate glyphs": 2}


def test_characters_alike_in_most_faces_are_one_class_with_the_lowest_code_point(tmp_path: Path) -> None:
    latin, greek, cyrillic = "A", "\u0391", "\u0410"
    fonts = [drawn([latin, greek, cyrillic, "b", "c"], weight=weight) for weight in range(4)]
    for number, font in enumerate(fonts):
        font[cyrillic] = font[greek]  # everywhere
        if number < 3:
            font[latin] = font[greek]  # in three of four
        if number < 2:
            font["c"] = font["b"]  # in two of four
    classes, dropped = choose(tmp_path, fonts, min_faces=2)
    assert classes == {character: [0, 1, 2, 3] for character in (latin, "b", "c")}
    assert dropped == {"look-alike characters": 2}


def test_a_rare_character_does_not_take_its_look_alike_along(tmp_path: Path) -> None:
    fonts = [drawn("ab", weight=weight) for weight in range(3)]
    fonts[0]["A"] = fonts[0]["a"]
    classes, dropped = choose(tmp_path, fonts, min_faces=3)
    assert list(classes) == ["a", "b"]
    assert dropped == {"rare characters": 1}


def test_a_collection_counts_shared_outlines_once_and_others_apart(tmp_path: Path) -> None:
    first, second = make_font(drawn("ab", weight=0)), make_font(drawn("ab", weight=1))
    save_collection(tmp_path / "both.ttc", first, second)
    save_collection(tmp_path / "same.ttc", first, first)
    for name, expected in (("both", [0, 1]), ("same", [0])):
        faces = load_faces(tmp_path / f"{name}.ttc")
        found = survey(faces, min_faces=2, progress=lambda *step: None)
        classes, _ = choose_classes(found, min_faces=1)
        assert classes == {ord("a"): expected, ord("b"): expected}


def test_the_windowed_search_finds_what_comparing_all_finds() -> None:
    generator = np.random.default_rng(0)
    base = generator.integers(0, 256, (60, 1, 256))
    noisy = base + generator.integers(-8, 9, (60, 5, 256)) * generator.integers(0, 2, (60, 5, 1))
    rows = np.clip(noisy, 0, 255).astype(np.uint8).reshape(-1, 256)
    rows = np.concatenate([rows, rows[:7], np.zeros((3, 256), np.uint8)])
    same = same_picture(rows[:, None], rows[None])
    expected = {(i, j) for i, j in np.argwhere(same).tolist() if i < j}
    assert {tuple(sorted(pair)) for pair in same_pairs(rows)} == expected
    assert len(expected) > 20
    assert list(same_pairs(rows[:0])) == []
