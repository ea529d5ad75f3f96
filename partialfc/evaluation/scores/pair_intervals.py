"""Intervals of the true accept rates over all pairs, by identity."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.evaluation.bootstrap import Interval, draw_counts, interval, without_errors
from partialfc.evaluation.scores.spread import NOBODY, Spread

MOST_WEIGHTS = 4_000_000_000  # of kept pairs and replicates: with more pairs there are fewer replicates
FEWEST = 50


class PairBootstrap:
    """As `partialfc.evaluation.bootstrap` draws identities, and weighs pairs of one and of two of them.

    The threshold is found anew in each replicate, among the highest impostor scores, which are more than
    twice as many as the highest FAR accepts; where a replicate would accept all of them, the lowest stands.
    A distractor, of nobody, always counts once.
    """

    def __init__(self, queries: Spread, gallery: Spread | None, *, replicates: int, seed: int) -> None:
        self._queries, self._gallery = queries, queries if gallery is None else gallery
        self._within = gallery is None
        self._classes = np.union1d(queries.by_class[0], self._gallery.by_class[0])
        self._sizes = self._sizes_of(queries)
        self._gallery_sizes = self._sizes_of(self._gallery)
        self._replicates, self._seed = replicates, seed

    def intervals(
        self,
        tar: Mapping[float, float | None],
        highest: tuple[Tensor, Tensor],
        depth: float,
        genuine: Iterable[tuple[Tensor, Tensor]],
    ) -> dict[float, Interval | None]:
        """Of each TAR that there is, 95 %; collective.

        highest: this rank's highest impostor scores, falling, and whose each is; depth: the lowest of all
        ranks' together. genuine: this rank's scores of genuine pairs, and the numbers of their queries.
        """
        scores, first, second = self._gathered(highest, depth)
        fars = [far for far, rate in tar.items() if rate is not None]
        pairs = self._genuine_pairs()
        largest = max(len(scores), int(pairs.sum()) // self._queries.world.size)
        replicates = min(self._replicates, max(FEWEST, MOST_WEIGHTS // max(largest, 1)))
        thresholds = np.concatenate(
            [
                self._thresholds(counts, scores, first, second, fars)
                for counts in draw_counts(len(self._classes), replicates, self._seed, row=len(scores))
            ],
            axis=1,
        )
        hits = self._hits(thresholds, genuine)
        totals = np.concatenate(
            [counts @ pairs for counts in draw_counts(len(self._classes), replicates, self._seed, row=0)]
        )
        identities = int(np.count_nonzero(pairs))
        with np.errstate(invalid="ignore", divide="ignore"):
            rates = hits / totals
        return {
            far: _interval(tar[far], values, identities=identities)
            for far, values in zip(fars, rates, strict=True)
        }

    def _sizes_of(self, spread: Spread) -> npt.NDArray[np.int64]:
        """How many embeddings of each class [G] it has, and last of nobody."""
        known, sizes, _ = spread.by_class
        found = np.zeros(len(self._classes) + 1, np.int64)
        found[np.searchsorted(self._classes, known)] = sizes
        found[-1] = len(spread) - sizes.sum()
        return found

    def _genuine_pairs(self) -> npt.NDArray[np.int64]:
        """How many genuine pairs each class [G] has."""
        own = self._sizes[:-1]
        pairs: npt.NDArray[np.int64] = (
            own * (own - 1) // 2 if self._within else own * self._gallery_sizes[:-1]
        )
        return pairs

    def _places(self, classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The place in `_classes` of each; the last one for nobody."""
        places = np.searchsorted(self._classes, classes)
        return np.where(classes == NOBODY, len(self._classes), places)

    def _gathered(
        self, highest: tuple[Tensor, Tensor], depth: float
    ) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of all ranks the highest scores, falling, and the places of both images' classes."""
        values, whose = highest
        kept = values >= depth
        world = self._queries.world
        counts = world.gather_integers([int(kept.sum())])[:, 0].tolist()
        scores = world.all_gather_rows(values[kept], counts).cpu().numpy()
        pairs = world.all_gather_rows(whose[kept], counts).cpu().numpy()
        order = np.argsort(-scores, kind="stable")
        row, column = np.divmod(pairs[order], len(self._gallery))
        return (
            scores[order],
            self._places(self._queries.all_classes[row]),
            self._places(self._gallery.all_classes[column]),
        )

    def _impostor_weights(self, weights: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The weight of all impostor pairs in each replicate: weights [b, G + 1] of the classes -> [b]."""
        own, other = weights * self._sizes, weights * self._gallery_sizes
        known = own[:, :-1]
        if not self._within:
            found: npt.NDArray[np.int64] = own.sum(1) * other.sum(1) - (known * other[:, :-1]).sum(1)
            return found
        nobodies = self._sizes[-1]
        of_known = (known.sum(1) ** 2 - (known**2).sum(1)) // 2
        within: npt.NDArray[np.int64] = of_known + known.sum(1) * nobodies + nobodies * (nobodies - 1) // 2
        return within

    def _thresholds(
        self,
        counts: npt.NDArray[np.int32],
        scores: npt.NDArray[np.floating],
        first: npt.NDArray[np.int64],
        second: npt.NDArray[np.int64],
        fars: list[float],
    ) -> npt.NDArray[np.floating]:
        """The score above which pairs are accepted, for each FAR and replicate [F, b]."""
        weights = np.pad(counts.astype(np.int64), ((0, 0), (0, 1)), constant_values=1)
        accepted = np.cumsum(weights[:, first] * weights[:, second], axis=1)
        totals = self._impostor_weights(weights)
        found = np.empty((len(fars), len(counts)), scores.dtype)
        for place, far in enumerate(fars):
            allowed = np.array([int(Decimal(str(far)) * total) for total in totals.tolist()])
            refused = accepted > allowed[:, None]
            last = np.where(refused.any(1), refused.argmax(1), len(scores) - 1)
            found[place] = scores[last]
        return found

    def _hits(
        self, thresholds: npt.NDArray[np.floating], genuine: Iterable[tuple[Tensor, Tensor]]
    ) -> npt.NDArray[np.float64]:
        """The weight of the genuine pairs above each threshold [F, R], over all ranks; collective."""
        low, high = (thresholds.min(), thresholds.max()) if thresholds.size else (0.0, 0.0)
        base = np.zeros(len(self._classes), np.int64)  # of each class, the pairs above every threshold
        parts: list[tuple[npt.NDArray[np.floating], npt.NDArray[np.int64]]] = []
        for scores, numbers in genuine:
            values = scores.cpu().numpy()
            places = self._places(self._queries.all_classes[numbers.cpu().numpy()])
            base += np.bincount(places[values > high], minlength=len(base))
            between = (values > low) & (values <= high)
            parts.append((values[between], places[between]))
        values = np.concatenate([values for values, _ in parts]) if parts else np.empty(0, thresholds.dtype)
        places = np.concatenate([places for _, places in parts]) if parts else np.empty(0, np.int64)
        order = np.argsort(-values, kind="stable")
        values, places = values[order], places[order]
        found = []
        start = 0
        replicates = thresholds.shape[1]
        for counts in draw_counts(len(self._classes), replicates, self._seed, row=len(values)):
            part = thresholds[:, start : start + len(counts)]
            start += len(counts)
            passed = np.cumsum(np.pad(counts[:, places], ((0, 0), (1, 0))), axis=1, dtype=np.int64)
            above = len(values) - np.searchsorted(values[::-1], part, side="right")
            found.append(counts @ base + passed[np.arange(len(counts)), above])
        own = torch.from_numpy(np.concatenate(found, axis=1).astype(np.float64))
        device = self._queries.rows.device
        total: npt.NDArray[np.float64] = self._queries.world.all_reduce_sum(own.to(device)).cpu().numpy()
        return total


def _interval(rate: float | None, values: npt.NDArray[np.float64], *, identities: int) -> Interval | None:
    if rate == 1:
        return Interval(1 - without_errors(identities), 1.0)
    if rate == 0:
        return Interval(0.0, without_errors(identities))
    return interval(values)
