"""Random galleries, and their best rows by plain float64."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from partialfc.serving.gallery.gallery import Gallery
from partialfc.serving.gallery.update import create
from partialfc.serving.rows import Rows, unit_rows
from tests.serving.cases import CARD


def random_rows(count: int, width: int = 32, seed: int = 0) -> Rows:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, width)))


def names(count: int, start: int = 0) -> list[tuple[str, str]]:
    return [(f"name{number % 7}", f"images/{number}.png") for number in range(start, start + count)]


def card_of(width: int) -> Any:
    return replace(CARD, embedding_size=width)


def make(folder: Path, rows: Rows, **options: Any) -> Gallery:
    """In batches of some rows each."""
    listed: Sequence[tuple[str, str]] = options.pop("names", None) or names(len(rows))
    batches = ((rows[at : at + 100], list(listed[at : at + 100])) for at in range(0, len(rows), 100))
    create(folder, card_of(rows.shape[1]), batches, **options)
    return Gallery(folder)


def best(stored: np.ndarray, queries: Rows, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Of rows float64 [n, D]: the cosines and places of the best, the earlier one of equal rows first."""
    unit = unit_rows(queries).astype(np.float64)  # as a search makes them, too
    scores = np.stack([np.einsum("nd,d->n", stored, query) for query in unit])
    order = np.stack([np.lexsort((np.arange(len(stored)), -row))[:k] for row in scores])
    return np.take_along_axis(scores, order, 1).clip(-1, 1), order


def stored_rows(gallery: Gallery) -> np.ndarray:
    """As they lie in its files, in float64."""
    parts = [segment.floats(slice(None)) for segment in gallery._view.segments]
    return np.concatenate(parts) if parts else np.empty((0, gallery.width))
