"""The verification sets of a run."""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from partialfc.data.pairs.files import PairSet, VideoPairs
from partialfc.distributed.world import World
from partialfc.errors import DataError
from partialfc.evaluation.embedder import Embedder
from partialfc.evaluation.evaluate import Evaluated, evaluate_pairs
from partialfc.evaluation.verification import ScoredBy, Verification, pair_scores
from partialfc.files import replacing, told

log = logging.getLogger(__name__)


class VerificationSets:
    """Sets of pairs by name; rank 0 writes the scores of the first and the latest verification to `folder`.

    how: what an Embedder has besides its network; `size` of the backbone's embeddings.
    """

    def __init__(
        self,
        pairs: Mapping[str, PairSet | VideoPairs],
        world: World,
        folder: Path,
        *,
        folds: int | None,
        **how: Any,
    ) -> None:
        self._pairs = pairs
        self._world = world
        self._folder = folder
        self._folds = folds
        self._how = how

    def __len__(self) -> int:
        return len(self._pairs)

    def verify(
        self,
        network: nn.Module,
        step: int,
        *,
        size: int | None = None,
        scores_of: Callable[[np.ndarray], np.ndarray] = pair_scores,
        score: ScoredBy = "cosine",
    ) -> Iterator[tuple[str, Verification]]:
        """Each set's name and result, one after another, the same on every rank; collective.

        size: how many numbers the network gives; None: an embedding's. scores_of, score: as for
        `evaluate_pairs`.

        Raises a DataError that names the set, on every rank, where an image of it cannot be used.
        """
        self._world.broadcast_buffers(network)
        how = self._how if size is None else self._how | {"size": size}
        embedder = Embedder(network=network, world=self._world, **how)
        for name, pairs in self._pairs.items():
            try:
                found = evaluate_pairs(embedder, pairs, folds=self._folds, scores_of=scores_of, score=score)
            except DataError as error:
                raise type(error)(f"verification set {name}: {error}") from error
            if self._world.rank == 0:
                file = self._folder / f"{name}.{'latest' if step else 'untrained'}.npz"
                try:
                    _write(file, found, pairs, step)
                except OSError as error:
                    log.warning("%s; the report will lack this ROC curve, training goes on", told(error))
            yield name, found.result


def _write(file: Path, found: Evaluated, pairs: PairSet | VideoPairs, step: int) -> None:
    """For a report: the scores, and what their intervals need, so that it needs no images for these."""
    file.parent.mkdir(exist_ok=True)
    with replacing(file) as beside, beside.open("wb") as npz:
        np.savez(
            npz,
            scores=found.scores,
            same=pairs.same,
            step=step,
            folds=found.folds,
            identities=pairs.identities.astype(np.int32),
        )
