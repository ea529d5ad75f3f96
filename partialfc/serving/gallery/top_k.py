"""The exact best rows of segments for each query, at little more than the cost of the products.

Each block's products are compared with what a row needs to be among the best k so far, less what a product
may be off. The few that reach it are computed in float64 from what is stored, which decides.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from partialfc.serving.gallery.products import BLOCK, Product, product_of
from partialfc.serving.gallery.segments import Segment
from partialfc.serving.rows import Rows

QUERIES = 128  # that are searched for at a time
WAITING = 48  # candidates of a query, or four times k, that wait to be computed exactly

Scores = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


def top_k(segments: Sequence[Segment], queries: Rows, k: int, *, threads: int = 1) -> tuple[Scores, Places]:
    """Unit queries float32 [n, D] -> cosines [n, m] and places [n, m], the best first; m is k, or all rows.

    A place counts the rows of the segments, one after the other; of equal rows the first one is the better.
    The scores are exact for the rows as they are stored.
    """
    rows = sum(map(len, segments))
    scores, places = np.empty((len(queries), min(k, rows))), np.empty((len(queries), min(k, rows)), np.int64)
    for start in range(0, len(queries), QUERIES):
        some = queries[start : start + QUERIES]
        best = _Best(segments, some, scores.shape[1])
        if scores.shape[1]:
            best.search(product_of(some, segments[0].storage, threads))
        for number, (score, place) in enumerate(best.found(), start=start):
            scores[number], places[number] = score, place
    return scores, places


class _Best:
    """The best k rows of each of Q queries, and the candidates that may still be among them."""

    def __init__(self, segments: Sequence[Segment], queries: Rows, k: int) -> None:
        self._segments, self._k = segments, k
        self._starts = np.cumsum([0, *map(len, segments)])
        self._queries = queries.astype(np.float64)
        count = len(queries)
        self._needed = np.full(count, -np.inf)  # of a candidate's score
        self._error = np.zeros(count)  # of a candidate's score, at most
        self._scores = [np.empty(0) for _ in range(count)]
        self._places = [np.empty(0, np.int64) for _ in range(count)]
        self._waiting: list[list[tuple[Scores, Places]]] = [[] for _ in range(count)]
        self._counts = np.zeros(count, np.int64)

    def search(self, product: Product) -> None:
        """Go through all rows."""
        self._error = product.error * max(map(_largest_norm, self._segments))
        for number, segment in enumerate(self._segments):
            for start in range(0, len(segment), BLOCK):
                stop = min(start + BLOCK, len(segment))
                self._take(product, segment, start, stop, base=int(self._starts[number]) + start)

    def found(self) -> list[tuple[Scores, Places]]:
        """Of each query, the best rows."""
        for query in np.flatnonzero(self._counts):
            self._settle(int(query))
        return list(zip(self._scores, self._places, strict=True))

    def _take(self, product: Product, segment: Segment, start: int, stop: int, *, base: int) -> None:
        """The candidates of a block."""
        products = product(segment, start, stop)
        scales = None if segment.scales is None else segment.scales[start:stop]
        most = (products.max(axis=0) + product.offset) * product.scale
        if scales is not None:
            most = np.where(most > 0, most * scales.max(), most * scales.min())
        for query in np.flatnonzero(most >= self._needed).tolist():
            score = (products[:, query] + product.offset[query]) * product.scale[query]
            if scales is not None:
                score *= scales
            at = np.flatnonzero(score >= self._needed[query])
            if len(at):
                self._waiting[query].append((score[at], at + base))
                self._counts[query] += len(at)
                if self._counts[query] >= max(WAITING, 4 * self._k) or len(self._scores[query]) < self._k:
                    self._settle(query)

    def _settle(self, query: int) -> None:
        """Compute the candidates exactly, and keep the best."""
        score = np.concatenate([each for each, _ in self._waiting[query]])
        place = np.concatenate([each for _, each in self._waiting[query]])
        self._waiting[query], self._counts[query] = [], 0
        if len(score) > self._k:
            least = np.partition(score, -self._k)[-self._k] - 2 * self._error[query]
            place = place[score >= least]
        exact = exact_scores(self._segments, self._queries[query], place)
        place = np.concatenate([self._places[query], place])
        score = np.concatenate([self._scores[query], exact])
        order = np.lexsort((place, -score))[: self._k]
        self._scores[query], self._places[query] = score[order], place[order]
        if len(order) == self._k:
            self._needed[query] = score[order[-1]] - self._error[query]


def exact_scores(segments: Sequence[Segment], query: npt.NDArray[np.float64], places: Places) -> Scores:
    """The cosines of a query [D] with the stored rows at places [m], in float64."""
    starts = np.cumsum([0, *map(len, segments)])
    found = np.empty(len(places))
    for start in range(0, len(places), BLOCK):
        some = places[start : start + BLOCK]
        which = np.searchsorted(starts, some, side="right") - 1
        for number in np.unique(which).tolist():
            mine = np.flatnonzero(which == number)
            rows = segments[number].floats(some[mine] - starts[number])
            # not by BLAS: so the order of a sum, and its last bit, is the same for any number of rows
            found[start + mine] = np.einsum("nd,d->n", rows, query)
    return found


def _largest_norm(segment: Segment) -> float:
    """Of a stored row, at most: 1, and what rounding adds."""
    if segment.scales is None:
        return 1.01
    return 1.01 + float(segment.scales.max(initial=0.0)) * float(np.sqrt(segment.width)) / 2
