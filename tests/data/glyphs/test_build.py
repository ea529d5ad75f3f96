"""glyphs: a whole data set from fonts, read back with the project's own readers."""

import json
import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partialfc.data.glyphs.build import FILES, GlyphReport, build_glyphs
from partialfc.data.glyphs.fonts import matplotlib_fonts
from partialfc.data.images.codec import decode
from partialfc.data.pairs.files import read_pairs
from partialfc.data.sources.insightface import RecordSource
from partialfc.errors import ConfigError, DataError, PairsError
from tests.data.glyphs.fontmaker import make_font, pattern, save_collection, save_font

CHARACTERS = [chr(0x4E00 + index) for index in range(24)]
SMALL: dict[str, Any] = {"min_faces": 3, "holdout": 6, "pairs": 40}


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five faces in a file or a collection of their own, 24 characters."""
    folder = tmp_path_factory.mktemp("fonts")
    faces = [{c: pattern(ord(c), weight=weight) for c in CHARACTERS} for weight in range(5)]
    for number in range(3):
        save_font(folder / f"{number}.ttf", faces[number])
    save_collection(folder / "deep" / "more.ttc", make_font(faces[3]), make_font(faces[4]))
    return folder


def build(out: Path, fonts: Path, **changes: Any) -> GlyphReport:
    return build_glyphs(out, fonts=[fonts], **(SMALL | changes))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def labelled(folder: Path) -> list[tuple[bytes, str]]:
    """Every training image with its character."""
    source = RecordSource(folder / "train.rec")
    lines = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == source.num_classes
    characters = []
    for index, line in enumerate(lines):
        number, code, character = line.split("\t")
        assert int(number) == index
        assert code == f"U+{ord(character):04X}"
        characters.append(character)
    samples = [source.read(index) for index in range(len(source))]
    return [(image, characters[label]) for image, label in samples]


def test_the_files_hold_what_the_report_says(tmp_path: Path, fonts: Path) -> None:
    report = build(tmp_path / "out", fonts)
    assert set(contents(tmp_path / "out")) == FILES
    assert (report.faces, report.characters, report.images) == (5, 18, 90)
    assert (report.held_out, report.pairs) == (6, 40)
    assert not any(report.dropped.values())
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    expected = asdict(report)
    assert expected.pop("seconds") > 0
    assert written.items() >= expected.items()
    assert "seconds" not in written

    samples = labelled(tmp_path / "out")
    assert Counter(Counter(character for _, character in samples).values()) == {5: 18}
    assert len({image for image, _ in samples}) == 90
    assert all(decode(image, channels=1).shape == (32, 32, 1) for image, _ in samples)
    assert (tmp_path / "out" / "property").read_text().strip() == "18,32,32"


def test_pairs_show_held_out_characters_only_and_never_one_picture_twice(tmp_path: Path, fonts: Path) -> None:
    build(tmp_path / "set", fonts, jitter=0.0)
    pairs = read_pairs(tmp_path / "set" / "pairs.bin")
    couples = list(zip(pairs.images[::2], pairs.images[1::2], strict=True))
    assert pairs.same.sum() == 20
    assert len({frozenset(couple) for couple in couples}) == 40
    training = dict(labelled(tmp_path / "set"))
    assert not training.keys() & set(pairs.images)

    # Without jitter a picture is the same under every seed, and other seeds hold out other characters.
    character_of: dict[bytes, str] = {}
    for seed in range(1, 6):
        build(tmp_path / f"{seed}", fonts, jitter=0.0, seed=seed)
        character_of |= labelled(tmp_path / f"{seed}")
    assert set(pairs.images) <= character_of.keys()
    for (first, second), same in zip(couples, pairs.same, strict=True):
        assert (character_of[first] == character_of[second]) == same
        assert first != second


def test_equal_builds_are_equal_bytes_wherever_they_are(tmp_path: Path, fonts: Path) -> None:
    build(tmp_path / "a", fonts)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in fonts.rglob("*.tt?"):
        (moved / path.name).write_bytes(path.read_bytes())
    build(tmp_path / "deep" / "b", moved)
    assert contents(tmp_path / "a") == contents(tmp_path / "deep" / "b")
    build(tmp_path / "c", fonts, seed=1)
    other = contents(tmp_path / "c")
    assert all(
        contents(tmp_path / "a")[name] != other[name] for name in ("train.rec", "pairs.bin", "report.json")
    )


def test_a_picture_depends_on_no_other_font(tmp_path: Path, fonts: Path) -> None:
    build(tmp_path / "a", fonts)
    more = tmp_path / "more"
    save_font(more / "00.ttf", {c: pattern(ord(c) + 999, weight=0) for c in CHARACTERS})
    build_glyphs(tmp_path / "b", fonts=[more, fonts], **SMALL)
    before, after = labelled(tmp_path / "a"), labelled(tmp_path / "b")
    assert set(before) < set(after)
    assert len(after) == len(before) + 18


def test_no_jitter_draws_black_on_white_in_the_middle(tmp_path: Path, fonts: Path) -> None:
    build(tmp_path / "out", fonts, jitter=0.0, size=48)
    for image, _ in labelled(tmp_path / "out"):
        pixels = decode(image, channels=1)[..., 0]
        assert pixels.shape == (48, 48)
        assert pixels[:4].min() == pixels[-4:].min() == pixels[:, :4].min() == pixels[:, -4:].min() == 255
        assert pixels.min() < 30


def test_colour_gives_colours_and_grey_gives_none(tmp_path: Path, fonts: Path) -> None:
    for colour in (True, False):
        build(tmp_path / "out", fonts, colour=colour, jitter=1.0)
        pixels = np.stack([decode(image) for image, _ in labelled(tmp_path / "out")]).astype(int)
        assert (np.ptp(pixels, axis=-1).max() > 50) == colour
        darker = (pixels.mean((1, 2, 3)) < 128).mean()
        assert 0.2 < darker < 0.8


def test_progress_counts_every_stage_to_its_end(tmp_path: Path, fonts: Path) -> None:
    last: dict[str, tuple[int, int]] = {}
    build(tmp_path / "out", fonts, progress=lambda stage, done, total: last.update({stage: (done, total)}))
    assert last == {"surveying faces": (5, 5), "drawing pairs": (6, 6), "drawing images": (18, 18)}


def test_a_broken_font_is_counted_and_named(
    tmp_path: Path, fonts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "broken.ttf").write_bytes(b"\0\1\0\0nothing")
    with caplog.at_level(logging.WARNING):
        report = build_glyphs(tmp_path / "out", fonts=[fonts, tmp_path / "more"], **SMALL)
    assert report.dropped["unreadable files"] == 1
    assert "broken.ttf" in caplog.text
    assert report.images == 90


def test_fonts_that_give_nothing_are_refused(tmp_path: Path) -> None:
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    broken.mkdir()
    (broken / "x.otf").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no \.ttf, \.otf, \.ttc file in .*empty"):
        build(tmp_path / "out", empty)
    with pytest.raises(DataError, match=r"no usable font in .*broken.*'unreadable files': 1"):
        build(tmp_path / "out", broken)
    with pytest.raises(DataError, match=r"absent is not a folder"):
        build(tmp_path / "out", tmp_path / "absent")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 7),
        ("size", 513),
        ("min_faces", 1),
        ("holdout", 1),
        ("jitter", -0.1),
        ("jitter", 1.1),
        ("jitter", float("nan")),
        ("seed", -1),
    ],
)
def test_an_argument_out_of_range_is_named(tmp_path: Path, fonts: Path, field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"^{field} is {value}: it must be"):
        build(tmp_path / "out", fonts, **{field: value})
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_fonts_give_is_refused_and_leaves_nothing(tmp_path: Path, fonts: Path) -> None:
    with pytest.raises(ConfigError, match=r"holdout is 23.* only 24 characters in 3 ways"):
        build(tmp_path / "out", fonts, holdout=23)
    with pytest.raises(ConfigError, match=r"only 0 characters in 6 ways"):
        build(tmp_path / "out", fonts, min_faces=6)
    with pytest.raises(PairsError, match=r"at most 120 pairs"):
        build(tmp_path / "out", fonts, pairs=122)
    with pytest.raises(PairsError, match=r"even"):
        build(tmp_path / "out", fonts, pairs=39)
    assert list(tmp_path.iterdir()) == []
    assert build(tmp_path / "out", fonts, pairs=120).pairs == 120


def test_an_error_half_way_leaves_the_earlier_set(tmp_path: Path, fonts: Path) -> None:
    build(tmp_path / "out", fonts)
    before = contents(tmp_path / "out")

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "drawing images" and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "out", fonts, seed=1, progress=stop)
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_earlier_set_and_an_empty_folder_are_replaced(tmp_path: Path, fonts: Path) -> None:
    (tmp_path / "out").mkdir()
    build(tmp_path / "out", fonts)
    before = contents(tmp_path / "out")
    build(tmp_path / "out", fonts, seed=1)
    assert contents(tmp_path / "out") != before
    build(tmp_path / "out", fonts)
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_anything_else_at_out_is_refused_and_kept(tmp_path: Path, fonts: Path) -> None:
    others = {name: tmp_path / name for name in ("file", "folder", "report", "mixed", "link")}
    others["file"].write_text("mine")
    others["folder"].mkdir()
    (others["folder"] / "train.rec").write_text("mine")
    others["report"].mkdir()
    (others["report"] / "report.json").write_text('{"kind": "something else"}')
    build(others["mixed"], fonts)
    (others["mixed"] / "notes.txt").write_text("mine")
    others["link"].symlink_to(tmp_path / "gone")
    for out in others.values():
        with pytest.raises(DataError, match=rf"out: .*{out.name} exists and is not an earlier glyph set"):
            build(out, fonts)
    assert others["file"].read_text() == "mine"
    assert (others["folder"] / "train.rec").read_text() == "mine"
    assert (others["mixed"] / "notes.txt").read_text() == "mine"


def test_real_fonts_give_no_boxes_and_no_wrong_letters(tmp_path: Path) -> None:
    folder = tmp_path / "fonts"
    folder.mkdir()
    names = (
        "STIXGeneralBol",
        "STIXGeneralBolIta",
        "STIXGeneralItalic",
        "LastResortHE-Regular",
        "cmsy10",
        "cmex10",
    )
    for name in names:
        (folder / f"{name}.ttf").symlink_to(matplotlib_fonts() / f"{name}.ttf")
    report = build_glyphs(tmp_path / "out", fonts=[folder], min_faces=3, holdout=50, pairs=200)
    assert report.faces == 3
    assert report.dropped["misnamed faces"] == 2
    samples = labelled(tmp_path / "out")
    per_class = Counter(character for _, character in samples)
    assert report.characters > 400
    assert set(per_class.values()) == {3}
    assert {"\u0436", "\u03b6", "\u21d4"} & per_class.keys()
    # Greek and Cyrillic letters that look like a Latin one.
    assert not set("\u0391\u0410\u03bf\u043e") & per_class.keys()
