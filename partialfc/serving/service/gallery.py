"""The gallery of a service: opened to be searched by name, and to be changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from partialfc.errors import DataError
from partialfc.serving.card import Card
from partialfc.serving.gallery.changes import Change
from partialfc.serving.gallery.gallery import Gallery
from partialfc.serving.gallery.gallery import Match as RowMatch
from partialfc.serving.gallery.manifest import MANIFEST, read_manifest, require_model
from partialfc.serving.gallery.names import in_one_form
from partialfc.serving.gallery.update import create
from partialfc.serving.gallery.writable import WritableGallery
from partialfc.serving.rows import Rows

ROWS_A_NAME = 4  # that a search asks the gallery for first, and then four times as many
MOST_ROWS = 4096  # that it asks for at last, so that one for more names than there are stays small


@dataclass(frozen=True, slots=True)
class Match:
    """A name, and the cosine of its nearest row."""

    name: str
    score: float


class ServedGallery:
    """The gallery in a folder, as it is when it is opened and as it is changed then.

    card, model: of the embeddings, and where their model lies. writable: whether it may be changed; then it
    is made where there is none, and no other process may change it.

    Raises DataError where it is damaged or missing, ConfigError for one of another model, or where another
    process changes it.
    """

    def __init__(self, folder: Path, card: Card, *, model: Path, writable: bool) -> None:
        if folder.exists() and not folder.is_dir():
            raise DataError(f"--gallery {folder} is no folder")
        if not (folder / MANIFEST).exists():
            if not writable:
                raise DataError(
                    f"--gallery {folder} is no gallery: make one with partialfc gallery build, or give a "
                    "token, with which one is filled by requests"
                )
            create(folder, card, (), model=model)
        require_model(folder, read_manifest(folder).card, card)
        self._writable = WritableGallery(folder) if writable else None
        self._gallery = Gallery(folder) if self._writable is None else self._writable

    def __len__(self) -> int:
        """How many rows it has."""
        return len(self._gallery)

    def counts(self, names: Sequence[str]) -> list[int]:
        """The rows of each name; in a large gallery this takes a part of a second."""
        found = self._gallery.counts(set(names))
        return [found[name] for name in names]

    def search(self, queries: Rows, k: int) -> list[list[Match]]:
        """Unit rows [n, D] -> for each the k names with the nearest rows, or fewer, the best one first.

        Names that none of the MOST_ROWS nearest rows has are not among them.
        """
        best: list[list[Match]] = [[] for _ in queries]
        left, rows = list(range(len(queries))), ROWS_A_NAME * k
        while left:
            found = self._gallery.search(queries[left], rows)
            for number, matches in zip(left, found, strict=True):
                best[number] = _best_names(matches, k)
            if rows >= MOST_ROWS:
                break
            left = [
                number
                for number, matches in zip(left, found, strict=True)
                if len(best[number]) < k and len(matches) == rows
            ]
            rows = min(rows * ROWS_A_NAME, MOST_ROWS)
        return best

    def change(self, changes: Sequence[Change]) -> list[int]:
        """As WritableGallery's."""
        assert self._writable is not None
        return self._writable.change(changes)

    def close(self) -> None:
        """Let another process change it."""
        if self._writable is not None:
            self._writable.close()


def _best_names(matches: Sequence[RowMatch], k: int) -> list[Match]:
    """The k best names of rows, the best row first."""
    found: dict[str, Match] = {}
    for match in matches:
        found.setdefault(in_one_form(match.name), Match(match.name, match.score))
    return [*islice(found.values(), k)]
