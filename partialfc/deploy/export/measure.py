"""The figures and thresholds of a card: an exported network's verification on pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.pairs.files import PairSet, read_pairs
from partialfc.distributed.world import World
from partialfc.errors import DataError, PairsError
from partialfc.evaluation.embedder import Embedder
from partialfc.evaluation.evaluate import evaluate_pairs
from partialfc.evaluation.intervals import with_intervals
from partialfc.evaluation.verification import Verification, tar_key, threshold_at
from partialfc.serving.card import Card, Figure, Threshold

ALONE = World(None, 0, 1)
THRESHOLD_FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
SHARES = ("accuracy", "auc", "eer")  # besides the true accept rates


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """sets: pair files by the names that the card gives them. replicates: of the intervals' bootstrap."""

    sets: dict[str, Path]
    batch_size: int = 256
    device: torch.device = torch.device("cpu")  # noqa: RUF009 it never changes
    replicates: int = 1000
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class Measured:
    """results: by the names of the sets."""

    results: dict[str, Verification]
    figures: tuple[Figure, ...] = ()
    thresholds: tuple[Threshold, ...] = ()


def measure(network: nn.Module, card: Card, how: Measuring, *, dtype: str = "float32") -> Measured:
    """network: floats [B, channels, side, side] in -1..1 -> rows, of the width that the card says.

    Compared is the cosine of rows. FARs are those that a set has impostor pairs enough for. dtype: what the
    products run in, for the results.

    Raises PairsError and ImageError, which name the set, where it cannot be used.
    """
    results: dict[str, Verification] = {}
    figures: list[Figure] = []
    thresholds: list[Threshold] = []
    embedder = Embedder(
        network=network.to(how.device),
        size=card.embedding_size,
        world=ALONE,
        image_size=card.image_size,
        channels=card.channels,
        batch_size=how.batch_size,
        device=how.device,
        max_pixels=how.max_pixels,
    )
    for name, path in how.sets.items():
        pairs = _read(name, path)
        fars = [far for far in THRESHOLD_FARS if far * int((~pairs.same).sum()) >= 1]
        try:
            found = evaluate_pairs(embedder, pairs, fars=fars)
        except (DataError, ValueError) as error:
            raise DataError(f"{name}, {path}: {error}") from error
        result = with_intervals(
            replace(found.result, dtype=dtype),
            found.scores,
            pairs.same,
            pairs.identities,
            folds=found.folds,
            replicates=how.replicates,
        )
        results[name] = result
        figures += _figures(name, result, fars)
        thresholds += _thresholds(name, found.scores, pairs.same, fars)
    return Measured(results, tuple(figures), tuple(thresholds))


def _read(name: str, path: Path) -> PairSet:
    try:
        return read_pairs(path)
    except PairsError as error:
        raise PairsError(f"{name}: {error}") from error


def _figures(name: str, result: Verification, fars: Sequence[float]) -> list[Figure]:
    values, found = result.to_dict(), []
    for key in (*SHARES, *map(tar_key, fars)):
        if values[key] is not None:
            low, high = result.intervals.get(key) or (None, None)
            found.append(Figure(set=name, name=key, value=float(values[key]), low=low, high=high))
    return found


def _thresholds(name: str, scores: np.ndarray, same: np.ndarray, fars: Sequence[float]) -> list[Threshold]:
    found = []
    for far in fars:
        rejected = threshold_at(scores[~same], far)
        if rejected is None:
            continue
        above = scores[scores > rejected]
        # Halfway to the next score, so that rounding in another library decides no pair otherwise.
        threshold = (rejected + float(above.min())) / 2 if above.size else np.nextafter(rejected, np.inf)
        tar = float(np.mean(scores[same] > rejected))
        found.append(Threshold(set=name, far=far, threshold=float(threshold), tar=tar))
    return found
