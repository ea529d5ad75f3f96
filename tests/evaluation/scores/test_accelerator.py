"""What the scores in blocks give on an accelerator is what they give on the CPU."""

import numpy as np
import torch

from partialfc.distributed import World
from partialfc.evaluation.scores.all_pairs import all_pairs
from partialfc.evaluation.scores.open_set import best_scores
from partialfc.evaluation.scores.ranking import rank_mates
from partialfc.evaluation.scores.score_norm import calibrated, class_means
from partialfc.evaluation.scores.spread import Spread
from partialfc.evaluation.templates import pool
from tests.evaluation.scores.cases import embeddings


def on(device: str, seed: int) -> Spread:
    rows, labels = embeddings(40, 6, ties=False, seed=seed)
    return Spread.of(torch.tensor(rows, dtype=torch.float32, device=device), labels, World.of())


def figures(device: str) -> list:
    first, second = on(device, 0), on(device, 1)
    normalised = calibrated(first, class_means(second), top=3, side=16)
    found = []
    for each in (first, normalised):
        pairs = all_pairs(each, fars=[0.01, 0.1], replicates=5, side=16)
        found += [*pairs.tar.values(), *(end for ends in pairs.intervals.values() for end in ends)]
    ranking = rank_mates(first, second, [second, on(device, 2)], ranks=[1, 5], side=16)
    found += [ranking.recall(1), ranking.mean_average_precision(), ranking.pairs_within(5)]
    found += [value for each in best_scores(first, second, side=16) for value in each[:5].tolist()]
    template = np.arange(40) // 4
    pooled = pool(first.rows, template, template % 3, np.linspace(0.1, 1, 40), World.of(), norm=False)
    return found + pooled.rows[:, 0].tolist()


def test_an_accelerator_gives_the_same(on_pretend):
    np.testing.assert_allclose(on_pretend(figures, "pretend"), figures("cpu"), rtol=1e-4)
