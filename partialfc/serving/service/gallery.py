"""The gallery of a service: searched, and changed so that nothing that was answered is lost."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from partialfc.errors import DataError
from partialfc.serving.card import Card
from partialfc.serving.gallery.gallery import Gallery
from partialfc.serving.gallery.gallery import Match as RowMatch
from partialfc.serving.gallery.manifest import MANIFEST
from partialfc.serving.service.added import Added, Match, Rows, best_first
from partialfc.serving.service.changes import FILE, Change, Changes

ROWS_A_NAME = 4  # that a search of the gallery itself asks for first, and then four times as many


class ServedGallery:
    """The gallery in a folder, if there is one, with the changes that it got while it was served.

    The gallery itself is searched as it is when it is opened. Changes stand in a file of their own, FILE, and
    are on the disk before `change` returns; the file has them for the next time. writable: whether there may
    be any; then the folder is made where there is none, and no other process may have the gallery open.

    Raises DataError where it is damaged, missing or open elsewhere, ConfigError for one of another model.
    """

    def __init__(self, folder: Path, card: Card, *, writable: bool) -> None:
        if folder.exists() and not folder.is_dir():
            raise DataError(f"--gallery {folder} is no folder")
        if writable:
            folder.mkdir(exist_ok=True)
        self._own = Gallery(folder) if (folder / MANIFEST).exists() else None
        if self._own is not None:
            self._own.require(card)
        elif not writable and not (folder / FILE).exists():
            raise DataError(
                f"--gallery {folder} is no gallery: make one with partialfc gallery build, or give a token, "
                "with which one is filled by requests"
            )
        self._added = Added(card.embedding_size)
        self._changes = Changes(
            folder / FILE, identity=card.identity, width=card.embedding_size, writable=writable
        )
        try:
            for change in self._changes.read():
                self._added.apply(change)
        except BaseException:
            self._changes.close()
            raise
        self._hidden = self._own_rows(self._added.removed)

    def __len__(self) -> int:
        """How many rows it has."""
        own = 0 if self._own is None else len(self._own)
        return own - self._hidden + len(self._added)

    def count(self, name: str) -> int:
        """The rows of a name; in a large gallery this takes seconds."""
        own = 0 if name in self._added.removed else self._own_rows([name])
        return own + self._added.count(name)

    def search(self, queries: Rows, k: int) -> list[list[Match]]:
        """Unit rows [n, D] -> for each the k names with the nearest rows, or fewer, the best one first."""
        added, own = self._added.search(queries, k), self._search_own(queries, k)
        found = []
        for mine, scores in zip(added, own, strict=True):
            for match in mine:
                scores[match.name] = max(match.score, scores.get(match.name, match.score))
            found.append(best_first(scores, k))
        return found

    def change(self, changes: Sequence[Change]) -> list[int]:
        """Make changes, in their order; of each how many rows came or went. Called by one thread.

        Raises OSError where they cannot be put on the disk; then none of them is made.
        """
        self._changes.append(changes)
        return [self._apply(each) for each in changes]

    def close(self) -> None:
        """Let another process have it."""
        self._changes.close()

    def _apply(self, change: Change) -> int:
        hides = change.rows is None and change.name not in self._added.removed
        hidden = self._own_rows([change.name]) if hides else 0
        self._hidden += hidden
        return hidden + self._added.apply(change)

    def _own_rows(self, names: Iterable[str]) -> int:
        """How many rows of the gallery itself have one of these names."""
        wanted = set(names)
        return self._own.count(wanted) if self._own is not None and wanted else 0

    def _search_own(self, queries: Rows, k: int) -> list[dict[str, float]]:
        """Of each query at least the k best names of the gallery itself that were not removed."""
        if self._own is None:
            return [{} for _ in queries]
        removed, rows = self._added.removed, ROWS_A_NAME * k
        while True:
            found = [_by_name(matches, removed) for matches in self._own.search(queries, rows)]
            if rows >= len(self._own) or all(len(each) >= k for each in found):
                return found
            rows *= ROWS_A_NAME


def _by_name(matches: Sequence[RowMatch], removed: frozenset[str]) -> dict[str, float]:
    """The best score of each name, of rows the best one first."""
    scores: dict[str, float] = {}
    for match in matches:
        if match.name not in removed:
            scores.setdefault(match.name, match.score)
    return scores
