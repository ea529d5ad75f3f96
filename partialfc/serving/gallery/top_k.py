"""The exact best rows of segments for each query, at little more than the cost of the products.

Each block's products are compared with what a row needs to be among the best k so far, less what a product
may be off. The few that reach it are computed in float64 from what is stored, which decides.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from partialfc.serving.gallery.products import BLOCK, Product, product_of
from partialfc.serving.gallery.segments import StoredRows
from partialfc.serving.rows import Rows

QUERIES = 128  # that are searched for at a time
STRIPES = 32  # rows of a group, of which the largest product is looked at first
EXACT = 32  # rows in float64 at once, which stay in a core's cache
WAITING = 24  # candidates of a query on the average, or four times k, that wait to be computed exactly

Scores = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


def top_k(
    segments: Sequence[StoredRows], queries: Rows, k: int, *, threads: int = 1
) -> tuple[Scores, Places]:
    """Unit queries float32 [n, D] -> cosines [n, m] and places [n, m], the best first; m is k, or all rows
    that are not hidden.

    A place counts the rows of the segments, one after the other; of equal rows the first one is the better.
    The scores are exact for the rows as they are stored.
    """
    m = min(k, sum(each.shown for each in segments))
    scores, places = np.empty((len(queries), m)), np.empty((len(queries), m), np.int64)
    if m:
        for start in range(0, len(queries), QUERIES):
            some = queries[start : start + QUERIES]
            product = product_of(some, segments[0].storage, threads)
            scores[start : start + QUERIES], places[start : start + QUERIES] = _Best(
                segments, some, m, product
            ).search()
    return scores, places


class _Best:
    """The best k rows of each of Q queries, and the candidates that may still be among them.

    There are k rows at least. `_queries`, `_scores` and `_places` [m] are of the best rows so far: of each,
    which query it is for, its exact score, and where it is.
    """

    def __init__(self, segments: Sequence[StoredRows], queries: Rows, k: int, product: Product) -> None:
        self._segments, self._k, self._product = segments, k, product
        self._all = queries.astype(np.float64)
        self._needed = np.full(len(queries), -np.inf)  # of a candidate's score
        self._error = product.error * max(map(_largest_norm, segments))  # of a candidate's score, at most
        self._queries, self._scores, self._places = np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
        self._waiting: list[tuple[Places, Scores, Places]] = []
        self._count = 0

    def search(self) -> tuple[Scores, Places]:
        """Go through all rows -> scores and places [Q, k]."""
        base = 0
        for segment in self._segments:
            for start in range(0, len(segment), BLOCK):
                self._take(segment, start, min(start + BLOCK, len(segment)), base)
            base += len(segment)
        self._settle()
        shape = (len(self._all), self._k)
        return self._scores.reshape(shape), self._places.reshape(shape)

    def _take(self, segment: StoredRows, start: int, stop: int, base: int) -> None:
        """The candidates of a block."""
        product, products = self._product, self._product(segment, start, stop)
        scales = None if segment.scales is None else segment.scales[start:stop]
        groups = _groups(products)
        least = self._least(products.dtype, scales)
        hits = np.flatnonzero(groups >= least)
        if len(hits) >= self._k * len(self._all):  # a first block
            if segment.hidden is not None:
                products[segment.hidden[start:stop]] = _lowest(products.dtype)
            self._raise(products, scales)
            least = self._least(products.dtype, scales)
            hits = np.flatnonzero(groups >= least)
        if not len(hits):
            return
        members = hits[:, None] + np.arange(0, products.size, groups.size)  # of each group, in all products
        found = members[products.reshape(-1)[members] >= least[hits % len(least), None]]
        at, queries = np.divmod(found, len(self._all))
        scores = (products[at, queries] + product.offset[queries]) * product.scale[queries]
        if scales is not None:
            scores *= scales[at]
        enough = scores >= self._needed[queries]
        if segment.hidden is not None:
            enough &= ~segment.hidden[start + at]
        self._waiting.append((queries[enough], scores[enough], at[enough] + (base + start)))
        self._count += len(self._waiting[-1][0])
        if self._count >= max(WAITING, 4 * self._k) * len(self._all):
            self._settle()

    def _raise(self, products: Any, scales: npt.NDArray[np.float32] | None) -> None:
        """What is needed, to what a block's k-th best rows have for sure."""
        if len(products) < self._k:
            return
        score = (_kth(products, self._k) + self._product.offset) * self._product.scale
        if scales is not None:
            score *= np.where(score > 0, scales.min(), scales.max())
        self._needed = np.maximum(self._needed, score - 2 * self._error)

    def _least(self, dtype: Any, scales: npt.NDArray[np.float32] | None) -> Any:
        """The products [Q] that a candidate of a block has at least, in their type."""
        needed = self._needed / self._product.scale
        if scales is not None:
            needed /= np.where(needed > 0, scales.max(), scales.min())
        needed -= self._product.offset
        if dtype == np.int32:
            limits = np.iinfo(np.int32)
            return np.ceil(needed).clip(limits.min, limits.max).astype(np.int32)
        return np.nextafter(needed.astype(np.float32), np.float32(-np.inf))

    def _settle(self) -> None:
        """Compute the candidates exactly, and keep the best."""
        if not self._count:
            return
        new = [np.concatenate(parts) for parts in zip(*self._waiting, strict=True)]
        self._waiting, self._count = [], 0
        kept = len(self._queries)
        queries, scores, places = (
            np.concatenate(both)
            for both in zip((self._queries, self._scores, self._places), new, strict=True)
        )
        _, last = self._ranked(queries, scores, places)
        near = np.flatnonzero(scores >= (last - 2 * self._error)[queries])
        queries, scores, places = queries[near], scores[near], places[near]
        unknown = near >= kept  # of the others the score is exact already
        scores[unknown] = exact_scores(self._segments, self._all, queries[unknown], places[unknown])
        best, last = self._ranked(queries, scores, places)
        self._queries, self._scores, self._places = queries[best], scores[best], places[best]
        self._needed = last - self._error

    def _ranked(self, queries: Places, scores: Scores, places: Places) -> tuple[Places, Scores]:
        """Which are the best k of each query, in order; and the score [Q] of the k-th, -inf without one."""
        order = np.lexsort((places, -scores, queries))
        starts = np.searchsorted(queries[order], np.arange(len(self._all) + 1))
        best = order[np.arange(len(order)) - starts[queries[order]] < self._k]
        last = np.full(len(self._all), -np.inf)
        full = np.flatnonzero(np.diff(starts) >= self._k)
        last[full] = scores[order[starts[full] + self._k - 1]]
        return best, last


def exact_scores(
    segments: Sequence[StoredRows], queries: npt.NDArray[np.float64], which: Places, places: Places
) -> Scores:
    """The cosines [m] of queries [Q, D], by their numbers [m], with the stored rows at places [m]."""
    starts = np.cumsum([0, *map(len, segments)])
    found = np.empty(len(places))
    for start in range(0, len(places), EXACT):
        some, mine = places[start : start + EXACT], which[start : start + EXACT]
        parts = np.searchsorted(starts, some, side="right") - 1
        for number in np.unique(parts).tolist():
            here = np.flatnonzero(parts == number)
            rows = segments[number].floats(some[here] - starts[number])
            # not by BLAS: so the order of a sum, and its last bit, is the same for any number of rows
            found[start + here] = np.einsum("nd,nd->n", rows, queries[mine[here]])
    return found


def _groups(products: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The largest products of G groups of rows, rows g, g + G, ... in group g; or else all products."""
    if len(products) % STRIPES:
        return products
    most: npt.NDArray[Any] = products.reshape(STRIPES, -1).max(axis=0).reshape(-1, products.shape[1])
    return most


def _kth(products: npt.NDArray[Any], k: int) -> npt.NDArray[Any]:
    """Of each column a number that its k-th largest one is not below, and near to it."""
    groups = _groups(products)  # the k best groups have a row each
    some = groups if len(groups) >= k else products
    kth: npt.NDArray[Any] = np.partition(some, len(some) - k, axis=0)[len(some) - k]
    return kth


def _lowest(dtype: Any) -> Any:
    """Of products that do not count."""
    return np.iinfo(dtype).min if dtype == np.int32 else -np.inf


def _largest_norm(segment: StoredRows) -> float:
    """Of a stored row, at most: 1, and what rounding adds."""
    if segment.scales is None:
        return 1.01
    return 1.01 + float(segment.scales.max(initial=0.0)) * float(np.sqrt(segment.width)) / 2
