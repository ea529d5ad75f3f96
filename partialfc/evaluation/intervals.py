"""The intervals of a verification's figures, by identity."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from partialfc.evaluation.bootstrap import Interval, draw_counts, interval, pair_weights, without_errors
from partialfc.evaluation.verification import Verification, checked, cross_validate, tar_key
from partialfc.evaluation.weighted import WeightedFigures


def with_intervals(
    result: Verification,
    scores: np.ndarray,
    same: np.ndarray,
    identities: np.ndarray,
    *,
    folds: int | np.ndarray = 10,
    replicates: int,
    seed: int = 0,
) -> Verification:
    """`result`, what `verify` found for scores [P], same [P] and folds, with 95 % intervals of its figures.

    identities [P, 2]: the number, from 0 on, of the identity on each side of a pair. replicates: 0 for no
    intervals; 1000 is a usual number. `partialfc.evaluation.bootstrap` says how they are made.

    Raises ValueError as `verify` does, and for identities of another shape.
    """
    if not replicates:
        return result
    fars = [far for far, tar in result.tar.items() if tar is not None]
    found = resampled(scores, same, identities, folds=folds, fars=fars, replicates=replicates, seed=seed)
    estimates = result.to_dict()
    distinct = least_identities(same, identities)
    intervals = {
        name: _interval(estimates[name], values, identities=distinct) for name, values in found.items()
    }
    return replace(result, intervals=intervals)


def resampled(
    scores: np.ndarray,
    same: np.ndarray,
    identities: np.ndarray,
    *,
    folds: int | np.ndarray,
    fars: Sequence[float],
    replicates: int,
    seed: int,
) -> Mapping[str, np.ndarray]:
    """The figures [R] of each replicate, by their keys in `Verification.to_dict`."""
    scores, same = checked(scores, same)
    identities = checked_identities(identities, len(scores))
    tested = cross_validate(scores, same, folds)
    figures = WeightedFigures(scores, same, tested.right(scores, same), tested.share())
    parts = [
        figures(pair_weights(counts, identities), fars)
        for counts in draw_counts(int(identities.max()) + 1, replicates, seed, row=len(scores))
    ]
    return {
        name if isinstance(name, str) else tar_key(name): np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }


def checked_identities(identities: np.ndarray, pairs: int) -> np.ndarray:
    """[P, 2] whole numbers from 0 without gaps, or ValueError."""
    identities = np.asarray(identities)
    if identities.shape != (pairs, 2) or identities.dtype.kind not in "iu":
        raise ValueError(f"identities have shape {identities.shape}: they must be whole numbers [{pairs}, 2]")
    return np.unique(identities, return_inverse=True)[1].reshape(pairs, 2)


def least_identities(same: np.ndarray, identities: np.ndarray) -> int:
    """How many identities the genuine pairs have, or the impostor pairs, whichever are fewer."""
    return min(len(np.unique(identities[kind])) for kind in (same, ~same))


def _interval(estimate: float, values: np.ndarray, *, identities: int) -> Interval | None:
    if estimate == 1.0:
        return Interval(1.0 - without_errors(identities), 1.0)
    if estimate == 0.0:
        return Interval(0.0, without_errors(identities))
    return interval(values)
