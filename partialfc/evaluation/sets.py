"""The verification sets of a run."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from partialfc.data.pairs.files import PairSet
from partialfc.distributed.world import World
from partialfc.errors import DataError
from partialfc.evaluation.evaluate import evaluate_pairs
from partialfc.evaluation.verification import Verification
from partialfc.files import replacing, told

log = logging.getLogger(__name__)


class VerificationSets:
    """Sets of pairs by name; rank 0 writes the scores of the first and the latest verification to `folder`.

    how: the further arguments of `evaluate_pairs`.
    """

    def __init__(self, pairs: Mapping[str, PairSet], world: World, folder: Path, **how: Any) -> None:
        self._pairs = pairs
        self._world = world
        self._folder = folder
        self._how = how

    def __len__(self) -> int:
        return len(self._pairs)

    def verify(self, backbone: nn.Module, step: int, **how: Any) -> Iterator[tuple[str, Verification]]:
        """Each set's name and result, one after another, the same on every rank; collective.

        how: in place of those given before.

        Raises a DataError that names the set, on every rank, where an image of it cannot be used.
        """
        self._world.broadcast_buffers(backbone)
        for name, pairs in self._pairs.items():
            try:
                result, scores = evaluate_pairs(backbone, pairs, self._world, **(self._how | how))
            except DataError as error:
                raise type(error)(f"verification set {name}: {error}") from error
            if self._world.rank == 0:
                file = self._folder / f"{name}.{'latest' if step else 'untrained'}.npz"
                try:
                    _write(file, scores, pairs.same, step)
                except OSError as error:
                    log.warning("%s; the report will lack this ROC curve, training goes on", told(error))
            yield name, result


def _write(file: Path, scores: np.ndarray, same: np.ndarray, step: int) -> None:
    """For the ROC curves of a report."""
    file.parent.mkdir(exist_ok=True)
    with replacing(file) as beside, beside.open("wb") as npz:
        np.savez(npz, scores=scores, same=same, step=step)
