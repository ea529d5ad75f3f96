"""Reading a `.rec` by key, with its `.idx` or without, and finding out whether the two belong together."""

import contextlib
import logging
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from partialfc.data.sources.record_file import AGAIN, RecordFile, counted_bytes
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
from partialfc.data.sources.recordio_index import STALE, read_index, require_distinct
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
    where the `.idx` is not that of the `.rec`. It may be pickled, and read after a fork.
    """

    keys: npt.NDArray[np.int64]  # [n], ascending

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._index = self.path.with_suffix(".idx")
        self._file = RecordFile(self.path)
        self.scanned = not self._index.exists()
        if self.scanned:
            log.warning("%s: no %s beside it, scanning all records", self.path, self._index.name)
            self._starts = self._file.scan()
            self.keys = np.arange(len(self._starts), dtype=np.int64)
            self._ends = np.append(self._starts[1:], self._file.size)
        else:
            self.keys, self._starts = read_index(self._index)
            order = self._order_in_file()
            self._ends = np.empty_like(self._starts)
            self._ends[order] = np.append(self._starts[order[1:]], self._file.size)
            self._compare(order)

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, key: int) -> bytes:
        """The payload of record `key`; RecordError where it is missing or damaged."""
        return bytes(self.view(key))

    def view(self, key: int) -> memoryview:
        """As `read`, one copy less."""
        at = self._place(key)
        start, end = int(self._starts[at]), int(self._ends[at])
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
        at = self._place(key)
        start, end = int(self._starts[at]), int(self._ends[at])
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
        starts, ends = self._starts[start:stop], self._ends[start:stop]
        if not ((ends - starts == size).all() and (starts[1:] == ends[:-1]).all()):
            return None
        data = self._file.read(int(starts[0]), size * len(starts))
        return data if len(data) == size * len(starts) else None

    def ends_in_file(self) -> tuple[int, int]:
        """The places, in the order of the keys, of the first and of the last record in the file."""
        return int(self._starts.argmin()), int(self._starts.argmax())

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _place(self, key: int) -> int:
        # Keys nearly always count up without gaps: try that place before searching.
        guess = key - int(self.keys[0])
        if 0 <= guess < len(self.keys) and self.keys[guess] == key:
            return guess
        place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            raise RecordError(
                f"{self.path}: no record {key}; "
                f"its {len(self.keys)} keys lie in {self.keys[0]}..{self.keys[-1]}"
            )
        return place

    def _checked_parts(self, at: int) -> list[tuple[int, int]]:
        """The parts of the record at this place of the index; an error says why it cannot be read."""
        offset, listed = int(self._starts[at]), int(self._ends[at])
        parts, end = self._file.parts(offset, f"record {self.keys[at]}")
        if end == listed:
            return parts
        if end == self._file.size or self._file.begins_record(end):
            raise self._misfit(at, end)
        place = f"{self.path} record {self.keys[at]} at byte {offset}"
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
        listed = int(self._ends[at])
        after = "none after it" if listed == self._file.size else f"the next at byte {listed}"
        return RecordIndexError(
            f"{self._index}: record {self.keys[at]} at byte {self._starts[at]} of the .rec ends at byte "
            f"{end}, but the index lists {after}; {STALE}"
        )

    def _order_in_file(self) -> npt.NDArray[np.int64]:
        """The places of the index by offset [n]; an error where these cannot be those of all records."""
        ascending = bool((self._starts[1:] > self._starts[:-1]).all())
        order = np.arange(len(self)) if ascending else np.argsort(self._starts, kind="stable")
        starts = self._starts[order]
        require_distinct(self._index, self.keys[order], starts)
        if starts[0] != 0:
            raise RecordIndexError(f"{self._index}: no record at byte 0, the first at {starts[0]}; {STALE}")
        self._require_within(starts)
        return order

    def _compare(self, order: npt.NDArray[np.int64]) -> None:
        """Look into the `.rec` at some places and where keys are missing; an error where it does not fit."""
        keys = self.keys[order]
        gaps = np.flatnonzero(keys[1:] != keys[:-1] + 1)
        looked_at = np.unique(
            np.concatenate([_spread(gaps, GAPS), _spread(np.arange(len(order)), SAMPLE), [0, len(order) - 1]])
        )
        good = 0
        for place in looked_at.tolist():
            if self._file.begins_record(int(self._starts[order[place]])):
                good = place
            else:
                self._find_misfit(order, good, place)
            if place in (0, len(order) - 1):
                self._checked_parts(int(order[place]))
            else:
                self._require_fit(int(order[place]))

    def _require_within(self, starts: npt.NDArray[np.int64]) -> None:
        """Every record starts within the file; the error tells a cut `.rec` from another one's index."""
        size = self._file.size
        count = int(np.searchsorted(starts, size - FRAME.size, side="right"))
        if count == len(starts):
            return
        beyond = f"lists {len(starts) - count} of {len(starts)} records beyond the .rec's end, byte {size}"
        cut = count == 0
        if count and self._file.begins_record(int(starts[count - 1])):
            _, word = FRAME.unpack(self._file.read(int(starts[count - 1]), FRAME.size))
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

    def _find_misfit(self, order: npt.NDArray[np.int64], good: int, bad: int) -> None:
        """At `good` a record starts, at `bad` none: an error if the index is to blame, not a damaged record.

        Between the two lies a record that ends elsewhere than the next one is listed, or whose next one is
        damaged.
        """
        while bad - good > 1:
            middle = (good + bad) // 2
            if self._file.begins_record(int(self._starts[order[middle]])):
                good = middle
            else:
                bad = middle
        self._require_fit(int(order[good]))

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


def _spread(places: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """At most so many of the places, evenly."""
    if len(places) <= count:
        return places
    return places[np.linspace(0, len(places) - 1, count).astype(np.int64)]
