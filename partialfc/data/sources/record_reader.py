"""Reading a `.rec` by key, with its `.idx` or without, and finding out whether the two belong together."""

import contextlib
import logging
from bisect import bisect_right
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from partialfc.data.sources.opened_file import state_of_path
from partialfc.data.sources.record_file import AGAIN, RecordFile, counted_bytes
from partialfc.data.sources.record_keys import Keys, spread
from partialfc.data.sources.record_places import PlacesBuilder
from partialfc.data.sources.recordio import (
    FIRST,
    FRAME,
    MAGIC,
    MAGIC_BYTES,
    WHOLE,
    Header,
    padded,
    split_word,
    unpack,
    unpack_start,
)
from partialfc.data.sources.recordio_index import STALE, read_index
from partialfc.errors import RecordError, RecordIndexError

log = logging.getLogger(__name__)

SAMPLE = 256  # places of an index that are compared with the .rec at opening
GAPS = 1024  # places at which keys are missing, likewise: where lines have got lost
_AT_ONCE = 1 << 24  # a longer record is read frame by frame, after its frames were checked
_START = 64  # bytes of a record that nearly always hold its whole header


class RecordReader:
    """The payloads of a `.rec` file by integer key.

    Keys come from the `.idx` beside it; without one the file is scanned and keys are 0..n-1 in file order
    (`scanned`). Records lie one behind the other, so the two belong together where each record ends at the
    next one's offset. Opening compares the first, the last, some hundreds between them and those around
    missing keys; each other one is compared when it is read, as comparing all would read the whole file.

    Raises RecordError where the `.rec` is damaged or cut short, also while it is in use, and RecordIndexError
    where the `.idx` is not that of the `.rec`. It may be read after a fork, and pickled: on Linux processes
    of the same machine then share what it keeps of the index, four bytes a record, while the first one lives.
    """

    keys: Keys  # [n], ascending
    state: str  # of both files, which another version of them does not have

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._index = self.path.with_suffix(".idx")
        self.state = f"{state_of_path(self.path)} {state_of_path(self._index)}"
        self._file = RecordFile(self.path)
        self.scanned = not self._index.exists()
        self._read_places()

    def _read_places(self) -> None:
        if self.scanned:
            log.warning("%s: no %s beside it, scanning all records", self.path, self._index.name)
            builder = PlacesBuilder()
            for starts in self._file.scan():
                builder.add(len(builder) + np.arange(len(starts)), starts)
            found = builder.finish()
            assert found is not None
            self.keys, self._starts = found
        else:
            self.keys, self._starts = read_index(self._index)
            if self._starts[0] != 0:
                raise RecordIndexError(
                    f"{self._index}: no record at byte 0, the first at {self._starts[0]}; {STALE}"
                )
            self._require_within()
            self._compare()

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        try:
            self.keys.attach()
            self._starts.attach()
        except OSError:  # what was shared is gone, or this is another machine
            self._file = RecordFile(self.path)
            self._read_places()

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, key: int) -> bytes:
        """The payload of record `key`; RecordError where it is missing or damaged."""
        return bytes(self.view(key))

    def view(self, key: int) -> memoryview:
        """As `read`, one copy less."""
        at = self._position(key)
        start, end = self._span(at)
        if end - start <= _AT_ONCE:
            data = self._file.read(start, end - start)
            length = _length_in_one_frame(data, end - start)
            if length is not None and len(data) == end - start:
                return memoryview(data)[FRAME.size : FRAME.size + length]
        parts = self._checked_parts(at)
        payload = MAGIC_BYTES.join(self._file.read(part, length) for part, length in parts)
        if len(payload) < sum(length for _, length in parts) + len(MAGIC_BYTES) * (len(parts) - 1):
            raise RecordError(f"{self.path} record {key} at byte {start}: cut short while it was read")
        return memoryview(payload)

    def header(self, key: int) -> tuple[Header, bool]:
        """The header of record `key`, and whether an image follows it, without reading that."""
        at = self._position(key)
        start, end = self._span(at)
        data = self._file.read(start, min(end - start, _START))
        length = _length_in_one_frame(data, end - start)
        if length is not None:
            found = unpack_start(data[FRAME.size : FRAME.size + length], length)
            if found is not None:
                return found
        header, image = unpack(self.view(key))
        return header, len(image) > 0

    def equal_records(self, start: int, stop: int, *, size: int) -> bytes | None:
        """The bytes of the records at places start..stop-1, frames included, in one piece.

        None where they do not lie one behind the other with `size` bytes each.
        """
        positions = self.keys.positions(np.arange(start, stop))
        first, after = int(positions[0]), int(positions[-1]) + 1
        if (np.diff(positions) != 1).any():
            return None
        _, end = self._span(after - 1)
        bounds = np.append(self._starts[first:after], end)
        if (np.diff(bounds) != size).any():
            return None
        data = self._file.read(int(bounds[0]), size * len(positions))
        return data if len(data) == size * len(positions) else None

    def ends_in_file(self) -> tuple[int, int]:
        """The places, in the order of the keys, of the first and of the last record in the file."""
        first, last = self.keys.places(np.array([0, len(self) - 1])).tolist()
        return first, last

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _position(self, key: int) -> int:
        """Of the record, in the order of the file."""
        place = self.keys.below(key)
        if place == len(self) or self.keys[place] != key:
            raise RecordError(
                f"{self.path}: no record {key}; its {len(self)} keys lie in {self.keys[0]}..{self.keys[-1]}"
            )
        return self.keys.position(place)

    def _span(self, at: int) -> tuple[int, int]:
        """Where the record at this position of the file starts and ends."""
        return self._starts[at], self._starts[at + 1] if at + 1 < len(self) else self._file.size

    def _key(self, at: int) -> int:
        """Of the record at this position."""
        return self.keys[int(self.keys.places(np.array([at]))[0])]

    def _checked_parts(self, at: int) -> list[tuple[int, int]]:
        """The parts of the record at this position; an error says why it cannot be read."""
        offset, listed = self._span(at)
        parts, end = self._file.parts(offset, lambda: f"record {self._key(at)}")
        if end == listed:
            return parts
        if end == self._file.size or self._file.begins_record(end):
            raise self._misfit(at, end)
        place = f"{self.path} record {self._key(at)} at byte {offset}"
        if listed == self._file.size:
            raise RecordError(
                f"{place}: it ends at byte {end}, and the {counted_bytes(listed - end)} after it are no "
                f"record; {AGAIN}"
            )
        if self._file.begins_record(listed):
            raise RecordError(
                f"{place}: its length leads to byte {end}, where no record starts; the next is at {listed}"
            )
        raise self._misfit(at, end)

    def _misfit(self, at: int, end: int) -> RecordIndexError:
        start, listed = self._span(at)
        after = "none after it" if listed == self._file.size else f"the next at byte {listed}"
        return RecordIndexError(
            f"{self._index}: record {self._key(at)} at byte {start} of the .rec ends at byte "
            f"{end}, but the index lists {after}; {STALE}"
        )

    def _compare(self) -> None:
        """Look into the `.rec` at some places and where keys are missing; an error where it does not fit."""
        gaps = self.keys.gaps(GAPS)
        last = len(self) - 1
        looked_at = np.unique(np.concatenate([gaps, spread(len(self), SAMPLE), [0, last]]))
        good = 0
        for place in looked_at.tolist():
            if self._file.begins_record(self._starts[place]):
                good = place
            else:
                self._find_misfit(good, place)
            if place in (0, last):
                self._checked_parts(place)
            else:
                self._require_fit(place)

    def _require_within(self) -> None:
        """Every record starts within the file; the error tells a cut `.rec` from another one's index."""
        size, starts = self._file.size, self._starts
        count = bisect_right(starts, size - FRAME.size)
        if count == len(starts):
            return
        beyond = f"lists {len(starts) - count} of {len(starts)} records beyond the .rec's end, byte {size}"
        cut = count == 0
        if count and self._file.begins_record(starts[count - 1]):
            _, word = FRAME.unpack(self._file.read(starts[count - 1], FRAME.size))
            flag, length = split_word(word)
            cut = flag == FIRST or starts[count - 1] + FRAME.size + padded(length) == starts[count]
        if cut and starts[count] == size:  # at the end of a record, so the index may have lines too many
            raise RecordError(
                f"{self.path}: cut short, or {self._index.name} is wrong, which {beyond}; {AGAIN}, or delete "
                f"{self._index} if the .rec is whole"
            )
        if cut:
            raise RecordError(f"{self.path}: cut short: {self._index.name} {beyond}; {AGAIN}")
        raise RecordIndexError(f"{self._index}: {beyond}; {STALE}")

    def _find_misfit(self, good: int, bad: int) -> None:
        """At `good` a record starts, at `bad` none: an error if the index is to blame, not a damaged record.

        Between the two lies a record that ends elsewhere than the next one is listed, or whose next one is
        damaged.
        """
        while bad - good > 1:
            middle = (good + bad) // 2
            if self._file.begins_record(self._starts[middle]):
                good = middle
            else:
                bad = middle
        self._require_fit(good)

    def _require_fit(self, at: int) -> None:
        with contextlib.suppress(RecordError):  # damage is an error when it is read, and may be skipped
            self._checked_parts(at)


def _length_in_one_frame(start: bytes, takes: int) -> int | None:
    """Of the payload of a record that begins so, if its one frame takes so many bytes; else None."""
    if len(start) < FRAME.size:
        return None
    magic, word = FRAME.unpack_from(start)
    flag, length = split_word(word)
    return length if magic == MAGIC and flag == WHOLE and FRAME.size + padded(length) == takes else None
