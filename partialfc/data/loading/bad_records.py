"""The records of a rank that cannot be decoded: counted, named, and limited in number."""

import logging
from collections.abc import Iterable

from partialfc.errors import PartialFCError

log = logging.getLogger(__name__)

Skipped = tuple[int, PartialFCError]  # the record's index, and the error that names it


class BadRecords:
    """The records that one rank could not decode, each counted and named in a warning once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._indices: set[int] = set()

    def __len__(self) -> int:
        return len(self._indices)

    def add(self, skipped: Iterable[Skipped]) -> None:
        """Count those that are new; the error of the first one beyond the limit is raised instead."""
        for index, error in skipped:
            if index in self._indices:
                continue
            if len(self) == self._limit:
                raise one_too_many(error, self._limit)
            self._indices.add(index)
            log.warning("bad record %d of at most %d, replaced: %s", len(self), self._limit, error)


def one_too_many(error: PartialFCError, limit: int) -> PartialFCError:
    """The error of a record that comes after `limit` skipped ones."""
    if limit == 0:
        return error
    return type(error)(
        f"{error}; max_bad_records is {limit}, and that many were skipped before it: "
        "raise max_bad_records, or fix the data"
    )
