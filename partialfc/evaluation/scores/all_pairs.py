"""True accept rates over all pairs of very many embeddings, exact, at false accept rates down to one pair."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import torch
from torch import Tensor

from partialfc.evaluation.bootstrap import Interval
from partialfc.evaluation.scores.largest import Largest, kth_largest
from partialfc.evaluation.scores.pair_intervals import PairBootstrap
from partialfc.evaluation.scores.pair_tiles import PairTiles
from partialfc.evaluation.scores.spread import SIDE, Spread

MOST_KEPT = 1 << 25  # scores that a rank keeps at a time, 12 bytes each


@dataclass(frozen=True, eq=False)
class AllPairs:
    """What `all_pairs` found.

    genuine, impostors: how many pairs there are. tar: by FAR, the share of genuine pairs above its
    threshold, and thresholds: by FAR; None where not even one impostor pair may be accepted. intervals: of
    the TAR, by FAR, where they were asked for.
    """

    genuine: int
    impostors: int
    tar: Mapping[float, float | None]
    thresholds: Mapping[float, float | None]
    intervals: Mapping[float, Interval | None] = field(default_factory=dict)


def all_pairs(
    queries: Spread,
    gallery: Spread | None = None,
    *,
    fars: Sequence[float],
    replicates: int = 0,
    seed: int = 0,
    side: int = SIDE,
    most_kept: int = MOST_KEPT,
) -> AllPairs:
    """TAR at each FAR over the N * M pairs of a query and one of the gallery; the same on every rank.

    gallery None: over the N (N - 1) / 2 pairs of two different queries, each counted once.

    With n impostor pairs floor(far * n) may be accepted: the threshold is the highest score that refuses all
    others, and what equals it is refused too, as in `verify`. Exact: no histogram and no sample. Scores are
    computed in blocks; of the impostors' only the floor(far * n) + 1 highest are kept, in a buffer whose
    bound rises, and the genuine ones where they are few (`most_kept`); else those are computed once more.
    Each rank computes its share of the blocks, and has at most 3 `most_kept` scores, a block of each rank
    and a tile beside its embeddings. replicates, seed: of the intervals (`PairBootstrap`). Collective.

    Raises ValueError where there are only genuine or only impostor pairs, for a FAR outside (0, 1), and for
    one that would keep more than `most_kept` scores.
    """
    tiles = PairTiles(queries, gallery, side)
    genuine, impostors = tiles.count()
    if not genuine or not impostors:
        raise ValueError(
            f"{genuine} genuine and {impostors} impostor pairs: verification needs some of both; give two "
            "classes or more, and two images or more of one"
        )
    allowed = {far: allowed_at(far, impostors) for far in map(float, fars)}
    ranks = sorted({count + 1 for count in allowed.values() if count})
    most = max(ranks, default=1)
    if most > most_kept:
        raise ValueError(
            f"fars has {max(allowed)}: of {impostors} impostor pairs {most} scores would be kept, and "
            f"{most_kept} may be; give none above {(most_kept - 1) / impostors:.1e}"
        )
    deeper = min(2 * most + 1000, most_kept, impostors) if replicates else most
    largest = Largest(max(deeper, most), queries.rows)
    keep = genuine <= most_kept
    kept: list[tuple[Tensor, Tensor]] = []
    for tile in tiles.all():
        found = tile.take_genuine()
        if keep:
            kept.append(found)
        largest.add_tile(tile.scores, tile.row, tile.column, tiles.width)

    def genuine_scores() -> Iterator[tuple[Tensor, Tensor]]:
        return iter(kept) if keep else (tile.take_genuine() for tile in tiles.all(genuine_only=True))

    highest = largest.falling()
    bounds = kth_largest(highest[0], ranks, queries.world)
    hits = _count_above((scores for scores, _ in genuine_scores()), bounds, queries)
    at = dict(zip(ranks, zip(bounds, hits, strict=True), strict=True))
    tar = {far: at[count + 1][1] / genuine if count else None for far, count in allowed.items()}
    intervals: Mapping[float, Interval | None] = {}
    if replicates:
        bootstrap = PairBootstrap(queries, gallery, replicates=replicates, seed=seed)
        (depth,) = kth_largest(highest[0], [max(deeper, most)], queries.world)
        intervals = bootstrap.intervals(tar, highest, depth, genuine_scores())
    return AllPairs(
        genuine=genuine,
        impostors=impostors,
        tar=tar,
        thresholds={far: at[count + 1][0] if count else None for far, count in allowed.items()},
        intervals=intervals,
    )


def allowed_at(far: float, impostors: int) -> int:
    """floor(far * impostors), the FAR taken as it is written in decimals; ValueError outside (0, 1)."""
    if not 0 < far < 1:
        raise ValueError(f"fars has {far}: a false accept rate must lie between 0 and 1")
    return int(Decimal(str(far)) * impostors)


def _count_above(scores: Iterator[Tensor], bounds: Sequence[float], queries: Spread) -> list[int]:
    """How many of the scores of all ranks are above each bound; collective."""
    limits = torch.tensor(bounds, dtype=queries.rows.dtype, device=queries.rows.device)
    above = torch.zeros(len(bounds), dtype=torch.int64, device=limits.device)
    for each in scores:
        above += len(each) - torch.searchsorted(each.sort().values, limits, right=True)
    counts: list[int] = queries.world.all_reduce_sum(above).tolist()
    return counts
