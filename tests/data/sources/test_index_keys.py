"""An index whose offsets fit its `.rec` and whose keys do not: read right, or refused with what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from partialfc.data.sources.checked_images import CheckedImages
from partialfc.data.sources.insightface import RecordSource, write_source
from partialfc.data.sources.recordio import Header, RecordWriter, pack
from partialfc.doctor.data import check_records, check_source
from partialfc.errors import RecordError, RecordIndexError
from tests.data.sources.records import DELETE, Lines, images_of, write_index


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Record 0, images 1..12 of four classes, class records 13..16."""
    path = tmp_path / "train.rec"
    samples = ((b"image %d" % number, number // 3) for number in range(12))
    write_source(path, samples, num_classes=4, image_size=(8, 8))
    return path


def index_of(path: Path) -> Lines:
    lines = path.with_suffix(".idx").read_text().splitlines()
    return [(int(key), int(offset)) for key, offset in map(str.split, lines)]


def with_keys(lines: Lines, keys: list[int]) -> Lines:
    return [(key, offset) for key, (_, offset) in zip(keys, lines, strict=True)]


WRONG: dict[str, Callable[[Lines], Lines]] = {
    "from 1": lambda lines: [(key + 1, offset) for key, offset in lines],
    "record 0 last": lambda lines: [(len(lines), lines[0][1]), *lines[1:]],
    "reversed": lambda lines: with_keys(lines, list(range(len(lines)))[::-1]),
    "rotated": lambda lines: with_keys(lines, [*range(5, len(lines)), *range(5)]),
    "multiplied and shuffled": lambda lines: with_keys(lines, [7 * key % 17 for key, _ in lines]),
    "record 0 swapped with an image": lambda lines: with_keys(lines, [4, 1, 2, 3, 0, *range(5, 17)]),
    "record 0 swapped with a class record": lambda lines: with_keys(lines, [14, *range(1, 14), 0, 15, 16]),
    "an image swapped with a class record": lambda lines: with_keys(
        lines, [*range(5), 14, *range(6, 14), 5, 15, 16]
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_keys_say_that_deleting_the_index_helps(path: Path, wrong: str) -> None:
    expected = images_of(path)
    write_index(path, WRONG[wrong](index_of(path)))
    with pytest.raises(RecordIndexError, match=rf"train\.idx: .*{DELETE}"):
        RecordSource(path)
    check, source = check_source([path], lambda: RecordSource(path))
    assert source is None
    assert f"delete {path.with_suffix('.idx')}; train.rec is then scanned" in str(check)
    path.with_suffix(".idx").unlink()
    assert images_of(path) == expected


def test_keys_with_gaps_and_shuffled_images_are_read(path: Path) -> None:
    expected = images_of(path)
    lines = index_of(path)
    write_index(path, [(2 * key, offset) for key, offset in lines])
    assert images_of(path) == expected
    write_index(path, with_keys(lines, [0, *range(12, 0, -1), *range(13, 17)]))
    assert images_of(path) == expected[::-1]


def test_a_class_record_met_as_an_image_is_not_a_bad_image(tmp_path: Path) -> None:
    """Where record 0 gives the number of classes, nothing at opening counts the class records."""
    path = tmp_path / "train.rec"
    with RecordWriter(path) as writer:
        writer.write(0, pack(Header(2, (201, 4)), b""))
        for key in range(1, 201):
            writer.write(key, pack(Header(0, (key // 50,)), b"i"))
        for key in range(201, 205):
            writer.write(key, pack(Header(2, (1, 2)), b""))
    lines = index_of(path)
    write_index(path, with_keys(lines, [*range(5), 300, *range(6, 203), 5, 203]))
    with pytest.raises(RecordIndexError, match=DELETE):
        images_of(path)
    write_index(path, with_keys(lines, [*range(5), 202, *range(6, 202), 5, 203, 204]))
    with pytest.raises(RecordIndexError, match=DELETE):
        images_of(path)


@pytest.fixture
def stray(path: Path, tmp_path: Path) -> Path:
    """More images than are looked at when the file is opened, one of which has none."""
    path = tmp_path / "stray.rec"
    with RecordWriter(path) as writer:
        writer.write(0, pack(Header(2, (201, 202)), b""))
        for key in range(1, 201):
            lost = key == 100
            writer.write(key, pack(Header(2, (1, 2)) if lost else Header(0, (0,)), b"" if lost else b"i"))
        writer.write(201, pack(Header(2, (1, 201)), b""))
    return path


def test_no_skipping_where_the_index_may_be_the_cause(stray: Path) -> None:
    source = RecordSource(stray)
    with pytest.raises(RecordIndexError, match=rf"stray\.idx: record 100 .*no image.*{DELETE}"):
        source.read(99)
    with pytest.raises(RecordIndexError, match=DELETE):
        source.header(99)
    with pytest.raises(RecordIndexError, match=DELETE):
        list(CheckedImages(source, max_bad=1000, max_pixels=100))
    stray.with_suffix(".idx").unlink()
    with pytest.raises(RecordError, match="record 100: holds no image"):
        RecordSource(stray).read(99)


def test_the_doctor_names_the_index_where_a_sampled_image_is_none(stray: Path) -> None:
    check = check_records(RecordSource(stray), channels=3, max_pixels=100, allowed=1000, seconds=60)
    assert f"delete {stray.with_suffix('.idx')}" in str(check)


def test_the_keys_of_a_shuffled_list_without_record_0_are_read(tmp_path: Path) -> None:
    """im2rec keeps the numbers of the list's lines, in whatever order these stand."""
    path = tmp_path / "train.rec"
    with RecordWriter(path) as writer:
        for key in range(6):
            writer.write(key, pack(Header(0, (key % 3,), key), b"i%d" % key))
    keys = [4, 2, 5, 0, 3, 1]
    write_index(path, with_keys(index_of(path), keys))
    assert images_of(path) == [(b"i%d" % at, at % 3) for at in (3, 5, 1, 4, 0, 2)]
    write_index(path, with_keys(index_of(path), [key + 1 for key in keys]))
    assert len(images_of(path)) == 6
