"""An index that does not fit its `.rec`: it is read right, or refused with what to do; nothing gets lost."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.data.sources.insightface import RecordSource
from partialfc.data.sources.record_reader import RecordReader
from partialfc.data.sources.recordio import RecordWriter
from partialfc.errors import DataError, RecordError, RecordIndexError
from tests.data.sources.records import DELETE, images_of, lines_of, write

MANY = 3000  # more than are looked at when the file is opened


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("many") / "train.rec", MANY)


@pytest.fixture
def large(many: Path) -> Iterator[Path]:
    """A file of many images, whose index a test may change."""
    index = many.with_suffix(".idx").read_bytes()
    yield many
    many.with_suffix(".idx").write_bytes(index)


CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "cut at a line's end": lambda lines: lines[:14],
    "cut within a key": lambda lines: [*lines[:14], lines[14][:1]],
    "cut before an offset": lambda lines: [*lines[:14], lines[14][:3]],
    "cut within an offset": lambda lines: [*lines[:14], lines[14][:4]],
    "a line less within": lambda lines: lines[:5] + lines[6:],
    "the first line less": lambda lines: lines[1:],
    "the last line less": lambda lines: lines[:-1],
    "a line twice": lambda lines: [*lines[:5], *lines[4:]],
    "an offset twice": lambda lines: [*lines[:5], b"5\t" + lines[4].split(b"\t")[1], *lines[6:]],
    "a key twice": lambda lines: [*lines[:5], b"4\t" + lines[5].split(b"\t")[1], *lines[6:]],
    "a record more": lambda lines: [*lines, b"19\t%d\n" % (4 + int(lines[-1].split()[1]))],
    "a record beyond the end": lambda lines: [*lines, b"19\t40000\n"],
    "an offset within a record": lambda lines: (
        [*lines[:5], b"5\t%d\n" % (4 + int(lines[5].split()[1])), *lines[6:]]
    ),
    "a line more within": lambda lines: [*lines, b"400\t%d\n" % (4 + int(lines[5].split()[1]))],
    "a blank line": lambda lines: [*lines[:5], b"\n", *lines[5:]],
    "a blank line at the end": lambda lines: [*lines, b"\n"],
    "carriage returns": lambda lines: [line.replace(b"\n", b"\r\n") for line in lines],
    "empty": lambda lines: [],
    "all lines less but one": lambda lines: lines[:1],
    "text": lambda lines: [b"<html>\n"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_index_that_does_not_fit_says_that_deleting_it_helps(small: Path, change: str) -> None:
    expected = images_of(small)
    index = small.with_suffix(".idx")
    index.write_bytes(b"".join(CHANGES[change](lines_of(small))))
    with pytest.raises(RecordIndexError, match=rf"train\.idx: .*{DELETE}"):
        RecordSource(small)
    index.unlink()
    assert images_of(small) == expected


def test_keys_without_class_records_do_not_fit_record_0(small: Path) -> None:
    lines = lines_of(small)
    at = lines[5].split(b"\t")[1]
    small.with_suffix(".idx").write_bytes(b"".join([*lines[:5], *lines[6:], b"500\t" + at]))
    with pytest.raises(RecordIndexError, match=f"promises 5 class records, there are keys for 6; .*{DELETE}"):
        RecordSource(small)


def test_an_index_in_another_order_or_without_its_last_newline_is_read(small: Path) -> None:
    expected = images_of(small)
    lines = lines_of(small)
    index = small.with_suffix(".idx")
    index.write_bytes(b"".join(lines[::-1]))
    assert images_of(small) == expected
    index.write_bytes(b"".join(lines)[:-1])
    assert images_of(small) == expected


def test_an_index_that_is_older_than_its_file_is_read(small: Path) -> None:
    """Copies do not keep times in order: what counts is the content."""
    os.utime(small.with_suffix(".idx"), (0, 0))
    assert len(images_of(small)) == 13


@pytest.mark.parametrize("other", [12, 14, 26])
def test_the_index_of_another_file_is_refused(tmp_path: Path, other: int) -> None:
    path, foreign = write(tmp_path / "a.rec", 13), write(tmp_path / "b.rec", other)
    foreign.with_suffix(".idx").rename(path.with_suffix(".idx"))
    with pytest.raises((RecordIndexError, RecordError), match=f"{DELETE}|cut short"):
        RecordSource(path)


@pytest.mark.parametrize("lost", [1, 1000, MANY - 1])
def test_lines_lost_from_a_large_index_are_found_at_opening(large: Path, lost: int) -> None:
    lines = lines_of(large)
    for start in (0, 1, 1234, len(lines) - lost):
        large.with_suffix(".idx").write_bytes(b"".join(lines[:start] + lines[start + lost :]))
        with pytest.raises(RecordIndexError, match=DELETE):
            RecordReader(large)


def test_a_large_index_of_another_file_is_refused(large: Path, tmp_path: Path) -> None:
    """They agree up to record 2000, and from record 2507 on, and in the number of records and of bytes."""
    with RecordReader(large) as reader, RecordWriter(tmp_path / "b.rec") as writer:
        for key in reader.keys:
            writer.write(key, reader.read({2000: 2507, 2507: 2000}.get(key, key)))
    assert (tmp_path / "b.rec").stat().st_size == large.stat().st_size
    large.with_suffix(".idx").write_bytes((tmp_path / "b.idx").read_bytes())
    with pytest.raises(RecordIndexError, match=DELETE):
        RecordReader(large)


NUMBER = st.integers(0, 10**6)


@st.composite
def changed(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    """Lines left out, doubled, exchanged, with another key or offset; cut anywhere."""
    found = [tuple(map(int, line.split())) for line in lines]
    for _ in range(draw(st.integers(1, 3))):
        at, other = (draw(st.integers(0, max(0, len(found) - 1))) for _ in range(2))
        if not found:
            break
        key, offset = found[at]
        match draw(st.sampled_from(["less", "twice", "exchanged", "key", "offset", "step", "renumbered"])):
            case "less":
                del found[at]
            case "twice":
                found.append((draw(NUMBER), offset))
            case "exchanged":
                found[at], found[other] = (key, found[other][1]), (found[other][0], offset)
            case "key":
                found[at] = (draw(NUMBER), offset)
            case "offset":
                found[at] = (key, found[other][1])
            case "step":
                found[at] = (key, max(0, offset + 4 * draw(st.integers(-20, 20))))
            case "renumbered":
                found = [(number, place) for number, (_, place) in enumerate(found)]
    text = b"".join(b"%d\t%d\n" % line for line in found)
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


def records_of(path: Path) -> Counter[bytes]:
    with RecordReader(path) as reader:
        return Counter(reader.read(key) for key in reader.keys)


def require_all_or_an_error(path: Path, index: bytes) -> None:
    """After a pass over the file every record and image was read once, or an error came."""
    records, images = records_of(path), Counter(images_of(path))
    path.with_suffix(".idx").write_bytes(index)
    try:
        read = records_of(path)
    except (RecordIndexError, RecordError) as error:
        remedy = "delete it" if isinstance(error, RecordIndexError) else "cut short"
        if remedy not in str(error):
            raise
        return
    assert read == records  # so every record has a key, but perhaps not its own
    with contextlib.suppress(RecordIndexError, RecordError):
        assert Counter(images_of(path)) == images


def test_an_image_among_the_class_records_does_not_get_lost(small: Path) -> None:
    lines = [line.split(b"\t") for line in lines_of(small)]
    lines[5][1], lines[16][1] = lines[16][1], lines[5][1]
    small.with_suffix(".idx").write_bytes(b"".join(map(b"\t".join, lines)))
    with pytest.raises(RecordIndexError, match=f"record 5 is among the images and has no image; .*{DELETE}"):
        RecordSource(small)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_record_is_left_out_or_read_twice(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "train.rec", 13)
        require_all_or_an_error(path, data.draw(changed(lines_of(path))))


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_no_record_of_many_is_left_out_or_read_twice(many: Path, data: st.DataObject) -> None:
    """More than are looked at when the file is opened."""
    index = many.with_suffix(".idx").read_bytes()
    try:
        require_all_or_an_error(many, data.draw(changed(lines_of(many))))
    finally:
        many.with_suffix(".idx").write_bytes(index)


def test_a_line_more_at_the_end_of_the_file_offers_both_remedies(small: Path) -> None:
    """As if a last record were cut off, or the index had a line too many; nothing tells which."""
    expected = images_of(small)
    with small.with_suffix(".idx").open("a") as index:
        index.write(f"500\t{small.stat().st_size}\n")
    with pytest.raises(RecordError, match=r"cut short, .*copy the \.rec again.*, or delete .*train\.idx"):
        RecordSource(small)
    small.with_suffix(".idx").unlink()
    assert images_of(small) == expected


def test_what_cannot_be_read_is_named(small: Path) -> None:
    small.with_suffix(".idx").unlink()
    small.with_suffix(".idx").mkdir()
    with pytest.raises(DataError, match=r"train\.idx: cannot be read: Is a directory"):
        RecordSource(small)
