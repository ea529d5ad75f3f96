"""A `.rec` that was cut, damaged or added to, with an index that was right: the error says which it is."""

import os
from pathlib import Path

import pytest

from partialfc.data.sources.insightface import RecordSource
from partialfc.errors import RecordError, RecordIndexError
from tests.data.sources.records import DELETE, image, lines_of


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
