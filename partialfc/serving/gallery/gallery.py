"""A saved gallery, opened to be searched."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from partialfc.errors import DataError
from partialfc.serving.card import Card
from partialfc.serving.gallery.changes import read_log
from partialfc.serving.gallery.faiss_index import FaissIndex
from partialfc.serving.gallery.manifest import MANIFEST, Manifest, read_manifest, require_model
from partialfc.serving.gallery.segments import Segment
from partialfc.serving.gallery.top_k import Places, Scores
from partialfc.serving.gallery.view import View
from partialfc.serving.rows import Rows, unit_rows

EQUAL = 100  # rows with one score that are ordered by name
TRIES = 10  # to open the files of a gallery that is changed again and again meanwhile


@dataclass(frozen=True, slots=True)
class Match:
    """A row of a gallery: its name, the key of its image ("" for a class's mean), and its cosine."""

    name: str
    key: str
    score: float


class Gallery:
    """The gallery in a folder, as it is now, with the changes that a service has made and may still make;
    what is changed later is not seen. Its rows are mapped.

    card: of the model whose embeddings it has. model: where that lay, None where nobody said. Searches from
    several threads at a time are fine. Raises DataError where the folder is no gallery, or a damaged one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._manifest, self._view = _opened(self.folder)

    def __len__(self) -> int:
        """How many rows it has."""
        return self._view.shown

    @property
    def card(self) -> Card:
        return self._manifest.card

    @property
    def model(self) -> Path | None:
        return Path(self._manifest.model) if self._manifest.model else None

    @property
    def width(self) -> int:
        """D, the numbers of a row."""
        return self.card.embedding_size

    @property
    def of_classes(self) -> bool:
        """Whether a row is the mean of a class's images, not an image."""
        return self._manifest.mean

    def require(self, card: Card) -> None:
        """Raises ConfigError unless a model's embeddings may be compared with those of the gallery."""
        require_model(self.folder, self.card, card)

    def search(self, rows: Rows, k: int = 5, *, threads: int = 1) -> list[list[Match]]:
        """Embeddings [n, D] -> for each the k best matches, the best one first; fewer where there are fewer.

        The scores are the exact cosines with the rows as they are stored. Of equal ones, if they are not
        more than EQUAL, the first by name comes first. Raises as `search_places` does.
        """
        view, unit = self._view, self._unit(rows, k)
        scores, places = view.search(unit, k + 1, threads=threads)
        if scores.shape[1] > k and (scores[:, k] == scores[:, k - 1]).any():
            scores, places = view.search(unit, k + EQUAL, threads=threads)
        return [_ordered(view, *each, k) for each in zip(scores, places, strict=True)]

    def search_places(self, rows: Rows, k: int, *, threads: int = 1) -> tuple[Scores, Places]:
        """As `search`: the cosines float64 [n, m], and the places of the rows, int64 [n, m]; m is k at most.

        A place counts the rows in order, also those that were removed and are still in the gallery's files.
        Exact, unless the gallery has a faiss index that is not; where that finds fewer than m rows, all are
        compared. Of equal rows the earlier one comes first.

        Raises ValueError for another shape or k below 1, DataError for a row that is zero or not finite.
        """
        return self._view.search(self._unit(rows, k), k, threads=threads)

    def _unit(self, rows: Rows, k: int) -> Rows:
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ValueError(f"rows are {list(rows.shape)}; they must be [n, {self.width}]")
        if k < 1:
            raise ValueError(f"k is {k}; it must be 1 or more")
        return unit_rows(rows, lambda index: f"query {index}")

    def name(self, place: int) -> tuple[str, str]:
        """The name of a row, and the key of its image. IndexError for a place that there is not."""
        return self._view.name(place)

    def counts(self, names: Collection[str]) -> dict[str, int]:
        """How many rows each of these names has; all names are read for it, once."""
        return self._view.counts(names)

    def names(self) -> Iterator[str]:
        """The name of each row, in order."""
        view = self._view
        return (view.name(place)[0] for place in view.places())

    def rows(self, places: Collection[int]) -> Rows:
        """Rows [m, D] at places, in float32, as they are stored: nearly of norm 1."""
        found = np.empty((len(places), self.width), np.float32)
        for number, place in enumerate(places):
            part, row = self._view.part_of(place)
            found[number] = part.floats([row])[0]
        return found


def _ordered(view: View, scores: Scores, places: Places, k: int) -> list[Match]:
    """The k best of more rows, of equal ones the first by name."""
    best = scores >= scores[:k].min(initial=1)
    listed = zip(places[best].tolist(), scores[best].tolist(), strict=True)
    found = [Match(*view.name(place), score) for place, score in listed]
    return sorted(found, key=lambda match: (-match.score, match.name))[:k]


def _opened(folder: Path) -> tuple[Manifest, View]:
    """All files of one state: where a change deletes one meanwhile, those of the next state."""
    for _ in range(TRIES):
        manifest = read_manifest(folder)
        width = manifest.card.embedding_size
        try:
            segments = [Segment(folder, part, manifest.storage, width) for part in manifest.parts]
            faiss = None
            if manifest.faiss_part is not None:
                faiss = FaissIndex.read(folder, manifest.faiss_part)
            changes = read_log(folder, manifest)
            return manifest, View.of(segments, faiss, changes, storage=manifest.storage, width=width)
        except FileNotFoundError as error:
            missing = error
            if read_manifest(folder) == manifest:
                break
    raise DataError(
        f"{missing.filename}: is missing, and {folder / MANIFEST} names it: the gallery is damaged"
    )
