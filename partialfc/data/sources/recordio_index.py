"""The `.idx` file beside a `.rec`: a line of `key TAB offset` per record."""

from pathlib import Path
from typing import IO

import numpy as np

from partialfc.data.sources.index_lines import DELETE, Numbers, read_lines
from partialfc.data.sources.record_keys import Keys
from partialfc.data.sources.record_places import Offsets, PlacesBuilder, places_of
from partialfc.errors import RecordIndexError

_A_KEY = 6  # bytes of text for each key that a table has room for; a line has 20 or so
_MOST_KEYS = (1 << 32) - 1
STALE = f"the index does not fit the .rec; {DELETE}"


def read_index(path: Path) -> tuple[Keys, Offsets]:
    """Where the records are, in the order of their offsets; RecordIndexError where that cannot be.

    Lines whose offsets ascend, as nearly always, take four bytes each, with shuffled keys eight, and little
    more on the way.
    """
    try:
        with path.open("rb") as file:
            most_keys = min(path.stat().st_size // _A_KEY, _MOST_KEYS)
            return (
                _in_order(path, file, PlacesBuilder(most_keys=most_keys))
                or _in_order(path, file, PlacesBuilder())
                or _in_any_order(path, file)
            )
    except OSError as error:
        raise RecordIndexError(f"{path}: cannot be read: {error.strerror}; {DELETE}") from error


def _in_order(path: Path, file: IO[bytes], builder: PlacesBuilder) -> tuple[Keys, Offsets] | None:
    """None where offsets do not ascend, and where anything is wrong with them or the keys."""
    file.seek(0)
    for keys, offsets in read_lines(path, file):
        if not builder.add(keys, offsets):
            return None
    if len(builder) == 0:
        raise RecordIndexError(f"{path}: the index is empty; {DELETE}")
    return builder.finish()


def _in_any_order(path: Path, file: IO[bytes]) -> tuple[Keys, Offsets]:
    file.seek(0)
    keys, offsets = (np.concatenate(parts) for parts in zip(*read_lines(path, file), strict=True))
    odd = offsets % 4 != 0
    if odd.any():
        line = int(odd.argmax())
        raise RecordIndexError(
            f"{path}: line {line + 1}: offset {offsets[line]} must be a multiple of 4; {STALE}"
        )
    order = np.argsort(keys, kind="stable")
    keys, offsets = keys[order], offsets[order]
    repeated = keys[1:] == keys[:-1]
    if repeated.any():
        at = int(repeated.argmax()) + 1
        raise RecordIndexError(f"{path}: line {order[at] + 1}: key {keys[at]} appears twice; {STALE}")
    order = np.argsort(offsets, kind="stable")
    keys, offsets = keys[order], offsets[order]
    _require_distinct(path, keys, offsets)
    return places_of(keys, offsets)


def _require_distinct(path: Path, keys: Numbers, offsets: Numbers) -> None:
    """RecordIndexError where two keys have the same offset; both [n], in ascending order of the offsets."""
    repeated = offsets[1:] == offsets[:-1]
    if repeated.any():
        at = int(repeated.argmax())
        raise RecordIndexError(
            f"{path}: keys {keys[at]} and {keys[at + 1]} both have the offset {offsets[at]}; {STALE}"
        )
