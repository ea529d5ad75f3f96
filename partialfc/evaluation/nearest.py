"""Identification by the nearest neighbour among the images of a pair set; pure NumPy."""

from dataclasses import dataclass, replace

import numpy as np

from partialfc.evaluation.bootstrap import Interval, draw_counts, interval, without_errors
from partialfc.evaluation.verification import Verification

BLOCK = 1024  # rows whose cosines to all others are in memory at a time


@dataclass(frozen=True, eq=False)
class Nearest:
    """right [Q]: whether the nearest other image shows the identity of the query; identities [Q]: whose.

    Queries are the images whose identity has another image in the set.
    """

    right: np.ndarray
    identities: np.ndarray


def nearest(rows: np.ndarray, identities: np.ndarray) -> Nearest:
    """rows [M, D], the identity [M] of each -> whether the other row of the largest cosine has the same.

    SphereFace's test on open sets: "the nearest neighbor classifier" on cosines (Liu et al. 2017, section
    4.1). Of equal cosines the row that comes first counts.

    Raises ValueError for a row that is zero or not finite.
    """
    rows = np.asarray(rows, np.float64)
    norms = np.linalg.norm(rows, axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if bad.size:
        raise ValueError(f"embedding {bad[0]} of {len(rows)} is zero or not finite: it has no direction")
    units = rows / norms[:, None]
    queries = np.flatnonzero(np.bincount(identities)[identities] > 1)
    right = np.empty(len(queries), np.bool_)
    for start in range(0, len(queries), BLOCK):
        part = queries[start : start + BLOCK]
        cosines = units[part] @ units.T
        cosines[np.arange(len(part)), part] = -np.inf
        right[start : start + len(part)] = identities[cosines.argmax(1)] == identities[part]
    return Nearest(right, identities[queries])


def with_rank1(result: Verification, found: Nearest, *, replicates: int, seed: int = 0) -> Verification:
    """`result` with the share of queries that are right, and its interval where there are `replicates`.

    A query counts as often as its identity is drawn; those to be found stay all of them.
    """
    if not len(found.right):
        return result
    rank1 = float(found.right.mean())
    if not replicates:
        return replace(result, rank1=rank1)
    ends = interval(resampled_rank1(found, replicates=replicates, seed=seed))
    people = len(np.unique(found.identities))
    if rank1 == 1:
        ends = Interval(1 - without_errors(people), 1.0)
    elif rank1 == 0:
        ends = Interval(0.0, without_errors(people))
    return replace(result, rank1=rank1, intervals={**result.intervals, "rank1": ends})


def resampled_rank1(found: Nearest, *, replicates: int, seed: int) -> np.ndarray:
    """The share of queries that are right [R] in each replicate."""
    people, number = np.unique(found.identities, return_inverse=True)
    right, queries = np.bincount(number, found.right), np.bincount(number)
    parts = [
        (counts @ right) / (counts @ queries)
        for counts in draw_counts(len(people), replicates, seed, row=len(people))
    ]
    return np.concatenate(parts)
