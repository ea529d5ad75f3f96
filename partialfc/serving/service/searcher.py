"""Searches and changes of a gallery that requests share: several in one call, each kind in its own thread."""

from collections.abc import Sequence
from http import HTTPStatus

import numpy as np

from partialfc.files import told
from partialfc.serving.gallery.changes import Change
from partialfc.serving.rows import Rows
from partialfc.serving.service.batcher import Batcher, Item, Result
from partialfc.serving.service.gallery import Match, ServedGallery
from partialfc.serving.service.limits import Limits
from partialfc.serving.service.numbers import Numbers
from partialfc.serving.service.problem import Problem
from partialfc.serving.service.service import deadline

MOST = 50  # names that a search answers
LARGEST = 64  # queries in a search, names in a look at all, changes in one wait for the disk


class Searcher:
    """A gallery behind queues: of searches, of names to look up, and of changes, which wait for the disk
    together.
    """

    def __init__(self, gallery: ServedGallery, *, limits: Limits, numbers: Numbers) -> None:
        self._gallery, self._limits, self._numbers = gallery, limits, numbers
        self._searches: Batcher[tuple[Rows, int], list[Match]] = Batcher(
            "search", self._search, largest=LARGEST, wait_seconds=0.0, capacity=limits.queue
        )
        self._names: Batcher[str, int] = Batcher(
            "names", self._count, largest=LARGEST, wait_seconds=0.0, capacity=limits.queue
        )
        self._changes: Batcher[Change, int] = Batcher(
            "changes", self._change, largest=LARGEST, wait_seconds=0.0, capacity=limits.queue
        )
        numbers.gallery.set_function(lambda: len(gallery))

    @property
    def rows(self) -> int:
        """How many the gallery has."""
        return len(self._gallery)

    async def search(self, row: Rows, k: int) -> list[Match]:
        """A unit row [D] -> the k nearest names, or fewer, the best one first. Raises Problem."""
        return await self._asked(self._searches, (row, k))

    async def count(self, name: str) -> int:
        """The rows of a name; all names are read for it. Raises Problem."""
        return await self._asked(self._names, name)

    async def change(self, change: Change) -> int:
        """Make a change; how many rows that were, all on the disk. Raises Problem where they are not.

        Who is answered 504 does not know: the change may still be made.
        """
        count = await self._asked(self._changes, change)
        self._numbers.changes.labels("added" if change.rows is not None else "removed").inc(count)
        return count

    def close(self) -> None:
        """End the threads; what waits is answered."""
        for each in (self._searches, self._names, self._changes):
            each.close()
        self._gallery.close()

    async def _asked(self, queue: Batcher[Item, Result], item: Item) -> Result:
        with queue.place(1) as place:
            async with deadline(self._limits.timeout):
                (result,) = await place.results([item])
        return result

    def _count(self, names: Sequence[str]) -> list[int | Exception]:
        return [*self._gallery.counts(names)]

    def _search(self, asked: Sequence[tuple[Rows, int]]) -> list[list[Match] | Exception]:
        found = self._gallery.search(np.stack([row for row, _ in asked]), max(k for _, k in asked))
        return [matches[:k] for matches, (_, k) in zip(found, asked, strict=True)]

    def _change(self, changes: Sequence[Change]) -> list[int | Exception]:
        try:
            return [*self._gallery.change(changes)]
        except OSError as error:
            rule = "must be on the disk before it is answered: make room there, or see where its folder is"
            problem = Problem(HTTPStatus.INSUFFICIENT_STORAGE, "gallery", told(error), rule)
            return [problem for _ in changes]
