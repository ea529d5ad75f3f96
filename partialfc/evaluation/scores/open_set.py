"""Open-set identification: who is it, and is it anybody in the gallery?"""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import torch

from partialfc.evaluation.bootstrap import draw_counts
from partialfc.evaluation.scores.spread import SIDE, Spread, same_class, scores_of

Scores = npt.NDArray[np.float64]


def best_scores(queries: Spread, gallery: Spread, *, side: int = SIDE) -> tuple[Scores, Scores]:
    """For each of Q queries the highest score [Q] with the gallery's embeddings of its class, and with all
    others [Q]; minus infinity where there is none. The same on every rank; collective.
    """
    best = np.full((len(queries), 2), -np.inf)
    for rows in queries.blocks(side):
        classes = queries.all_classes[rows.start : rows.start + len(rows)]
        found = rows.rows.new_full((len(rows), 2), -torch.inf)
        for columns in gallery.own_blocks(side):
            scores = scores_of(rows, columns)
            row, column = same_class(
                classes, gallery.all_classes[columns.start : columns.start + len(columns)]
            )
            mated = torch.full_like(scores, -torch.inf)
            mated[row, column] = scores[torch.from_numpy(row), torch.from_numpy(column)]
            scores[torch.from_numpy(row), torch.from_numpy(column)] = -torch.inf
            found = torch.maximum(found, torch.stack([mated.amax(1), scores.amax(1)], 1))
        found = queries.world.all_reduce_max(found)
        best[rows.start : rows.start + len(rows)] = found.cpu().numpy()
    return best[:, 0], best[:, 1]


@dataclass(frozen=True, eq=False)
class OpenSet:
    """Searches in a gallery: Q probes, each of one subject.

    mated [Q]: whether the subject is in the gallery. mate, other [Q]: as `best_scores` gives them. subjects
    [Q]: numbers from 0 on, by which searches are drawn for intervals.
    """

    mated: npt.NDArray[np.bool_]
    mate: Scores
    other: Scores
    subjects: npt.NDArray[np.int64]

    def tpir(self, fpir: float) -> float | None:
        """The share of the mated searches whose mate comes first, above the threshold.

        The threshold is the lowest at which no more than floor(fpir * n) of the n searches that are not mated
        have a score above it; what equals it is refused. None where not even one may be. Grother and Ngan,
        "Face Recognition Vendor Test", FPIR and TPIR at rank 1; Maze et al. 2018, section 4.2.
        """
        (found,) = self.tpirs(fpir, np.ones((1, int(self.subjects.max(initial=0)) + 1), np.int64))
        return None if np.isnan(found) else float(found)

    def tpirs(self, fpir: float, weights: npt.NDArray[np.integer]) -> Scores:
        """With each subject counted as often as weights [b, G] say -> [b]; NaN where there is none."""
        alarms = self.other[~self.mated]
        order = np.argsort(-alarms, kind="stable")
        alarms = alarms[order]
        counts = weights[:, self.subjects[~self.mated][order]].astype(np.int64)
        found = np.full(len(weights), np.nan)
        hits = self.mated & (self.mate > self.other)
        own = weights[:, self.subjects[self.mated]].sum(1)
        for place, (each, row) in enumerate(zip(counts, weights, strict=True)):
            allowed = int(Decimal(str(fpir)) * int(each.sum()))
            if allowed < 1 or not own[place]:
                continue
            threshold = alarms[int(np.argmax(np.cumsum(each) > allowed))]
            accepted = hits & (self.mate > threshold)
            found[place] = row[self.subjects[accepted]].sum() / own[place]
        return found

    def replicates(self, fpir: float, subjects: int, *, replicates: int, seed: int) -> Scores:
        """The TPIR [R] of each replicate of the bootstrap over `subjects`."""
        return np.concatenate(
            [
                self.tpirs(fpir, counts)
                for counts in draw_counts(subjects, replicates, seed, row=len(self.subjects))
            ]
        )
