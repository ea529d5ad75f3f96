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

from partialfc.data.sources.insightface import RecordSource, write_source
from partialfc.data.sources.record_reader import RecordReader
from partialfc.data.sources.recordio import Header, RecordWriter, pack
from partialfc.errors import DataError, RecordError, RecordIndexError

MANY = 3000  # more than are looked at when the file is opened
DELETE = r"delete it to have the \.rec scanned instead"


def image(number: int) -> bytes:
    return b"image %d" % number + bytes(number % 7)


def write(path: Path, images: int) -> Path:
    write_source(path, ((image(n), 5 * n // images) for n in range(images)), num_classes=5, image_size=(8, 8))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write(tmp_path / "train.rec", 13)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("many") / "train.rec", MANY)


@pytest.fixture
def large(many: Path) -> Iterator[Path]:
    """A file of many images, whose index a test may change."""
    index = many.with_suffix(".idx").read_bytes()
    yield many
    many.with_suffix(".idx").write_bytes(index)


def lines_of(path: Path) -> list[bytes]:
    return path.with_suffix(".idx").read_bytes().splitlines(keepends=True)


def images_of(path: Path) -> list[bytes]:
    source = RecordSource(path)
    return [source.read(at)[0] for at in range(len(source))]


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
        for key in reader.keys.tolist():
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
        return Counter(reader.read(key) for key in reader.keys.tolist())


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


def test_a_cut_file_is_not_blamed_on_its_index(small: Path) -> None:
    """Cut within a record, and where a record ends."""
    data = small.read_bytes()
    ends = [int(line.split()[1]) for line in lines_of(small)]
    for size in (len(data) - 4, ends[15], ends[15] + 4, ends[15] + 12, ends[2]):
        small.write_bytes(data[:size])
        with pytest.raises(RecordError, match=r"train\.rec.*cut short"):
            RecordSource(small)
    small.with_suffix(".idx").unlink()
    with pytest.raises(RecordError, match=r"train\.rec: .* 5 class records, there are 0: the file was cut"):
        RecordSource(small)


def test_a_line_more_at_the_end_of_the_file_offers_both_remedies(small: Path) -> None:
    """As if a last record were cut off, or the index had a line too many; nothing tells which."""
    expected = images_of(small)
    with small.with_suffix(".idx").open("a") as index:
        index.write(f"500\t{small.stat().st_size}\n")
    with pytest.raises(RecordError, match=r"cut short, .*copy the \.rec again.*, or delete .*train\.idx"):
        RecordSource(small)
    small.with_suffix(".idx").unlink()
    assert images_of(small) == expected


def test_a_file_behind_itself_is_not_called_cut(small: Path) -> None:
    small.write_bytes(2 * small.read_bytes())
    with pytest.raises(RecordIndexError, match=DELETE):
        RecordSource(small)
    small.with_suffix(".idx").unlink()
    with pytest.raises(
        RecordError, match=r"5 class records, there are .*: the file has records too many"
    ) as error:
        RecordSource(small)
    assert "cut" not in str(error.value)


@pytest.mark.parametrize("tail", [b"\0", bytes(4), b"\n\n"])
@pytest.mark.parametrize("indexed", [True, False])
def test_bytes_added_behind_the_records_are_not_called_a_cut(small: Path, tail: bytes, indexed: bool) -> None:
    end = small.stat().st_size
    small.write_bytes(small.read_bytes() + tail)
    if not indexed:
        small.with_suffix(".idx").unlink()
    count = "1 byte" if len(tail) == 1 else f"{len(tail)} bytes"
    place = f"ends at byte {end}, and the" if indexed else rf"record 19 at byte {end}: the last"
    with pytest.raises(RecordError, match=rf"{place} {count} .* no record; copy the \.rec again") as error:
        RecordSource(small)
    assert "cut" not in str(error.value)


def test_a_frame_that_was_begun_is_called_a_cut(small: Path) -> None:
    data, last = small.read_bytes(), int(lines_of(small)[-1].split()[1])
    small.with_suffix(".idx").unlink()
    for size in (last + 1, last + 4, last + 7, last + 12):
        small.write_bytes(data[:size])
        with pytest.raises(RecordError, match=f"record 18 at byte {last}: .*cut short"):
            RecordSource(small)


def test_bytes_behind_the_last_record_are_refused(small: Path) -> None:
    small.write_bytes(small.read_bytes() + bytes(400))
    with pytest.raises(RecordError, match=r"the 400 bytes after it are no record; copy the \.rec again"):
        RecordSource(small)


def test_a_damaged_record_is_an_error_when_it_is_read(small: Path) -> None:
    """Its index is sound: the other records stay readable."""
    data = bytearray(small.read_bytes())
    magic, length = (int(lines_of(small)[key].split()[1]) for key in (4, 8))
    data[magic] ^= 1
    data[length + 4] ^= 4
    small.write_bytes(data)
    source = RecordSource(small)
    for key in range(1, 14):
        if key == 4:
            with pytest.raises(RecordError, match=r"record 4 at byte .* magic word"):
                source.read(key - 1)
        elif key == 8:
            with pytest.raises(RecordError, match=r"record 8 at byte .* where no record starts"):
                source.read(key - 1)
        else:
            assert source.read(key - 1)[0] == image(key - 1)


@pytest.mark.parametrize("indexed", [True, False])
def test_record_0_may_come_last(tmp_path: Path, indexed: bool) -> None:
    """As InsightFace's RecBuilder writes it: with the key 0, behind the class records."""
    path = tmp_path / "train.rec"
    records = [(1, pack(Header(0, (0,), 1), b"x")), (2, pack(Header(0, (3,), 2), b"y"))]
    records += [(3, pack(Header(2, (1, 2), 3), b"")), (4, pack(Header(2, (2, 3), 4), b""))]
    with RecordWriter(path) as writer:
        for key, payload in [*records, (9, pack(Header(2, (3, 5), 0, 1), b""))]:
            writer.write(key, payload)
    index = path.with_suffix(".idx")
    index.write_text(index.read_text().replace("9\t", "0\t"))
    if not indexed:
        index.unlink()
    source = RecordSource(path)
    assert [source.read(at) for at in range(len(source))] == [(b"x", 0), (b"y", 3)]
    assert source.num_classes == 4


def test_record_0_may_give_the_number_of_classes(tmp_path: Path) -> None:
    """As many converters write it: `[one past the last image, number of classes]`, without class records."""
    path = tmp_path / "train.rec"
    labels = [0, 0, 1, 1]
    with RecordWriter(path) as writer:
        writer.write(0, pack(Header(2, (5, 2)), b""))
        for key, label in enumerate(labels, start=1):
            writer.write(key, pack(Header(0, (label,)), b"x"))
    source = RecordSource(path)
    assert [source.read(at)[1] for at in range(len(source))] == labels
    assert source.num_classes == 2


def test_a_file_that_is_cut_while_it_is_open_is_an_error(small: Path) -> None:
    """A mapped file would end the process with SIGBUS."""
    source = RecordSource(small)
    source.read(0)
    os.truncate(small, 200)
    with pytest.raises(RecordError, match=r"train\.rec record 12 at byte \d+: .*cut short"):
        source.read(11)
    os.truncate(small, 0)
    with pytest.raises(RecordError, match=r"record 1 at byte 40: the file ends at byte 0"):
        source.read(0)


def test_what_cannot_be_read_is_named(small: Path) -> None:
    small.with_suffix(".idx").unlink()
    small.with_suffix(".idx").mkdir()
    with pytest.raises(DataError, match=r"train\.idx: cannot be read: Is a directory"):
        RecordSource(small)
