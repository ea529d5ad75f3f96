"""The verification of a trained network on a pair set, with all its figures and their intervals."""

from collections.abc import Sequence
from typing import Literal

from partialfc.data.pairs.files import PairSet, VideoPairs
from partialfc.deploy.matching import Matcher
from partialfc.errors import ConfigError
from partialfc.evaluation.embedder import Embedder
from partialfc.evaluation.evaluate import Evaluated, evaluate_pairs, mean_scores
from partialfc.evaluation.intervals import with_intervals
from partialfc.evaluation.nearest import Nearest, nearest, with_rank1
from partialfc.evaluation.pair_rows import require_own_images
from partialfc.evaluation.verification import FARS, Verification

Video = Literal["embeddings", "scores"]


def evaluate_matched(
    embedder: Embedder,
    by: Matcher,
    pairs: PairSet | VideoPairs,
    *,
    folds: int | None = None,
    fars: Sequence[float] = FARS,
    video: Video = "embeddings",
) -> Evaluated:
    """The verification of P pairs by how a network compares two images; collective.

    embedder: of the backbone. video: the cosine of the means of both videos' embeddings, or the mean of all
    cosines between their frames.

    Raises ConfigError for Gaussians that were to be joined or averaged, ImageError as `evaluate_pairs` does,
    which names all images of a pair set that do not decode.
    """
    matched = by.embedder(embedder)
    if by.score == "mls" and isinstance(pairs, VideoPairs):
        raise ConfigError("pairs of videos are compared by the cosine: take --score cosine")
    if isinstance(pairs, VideoPairs):
        score = mean_scores if video == "scores" else by.scores
        return evaluate_pairs(matched, pairs, folds=folds, fars=fars, scores_of=score)
    require_own_images(embedder, pairs)
    return evaluate_pairs(matched, pairs, folds=folds, fars=fars, scores_of=by.scores, score=by.score)


def all_figures(
    found: Evaluated, by: Matcher, pairs: PairSet | VideoPairs, *, replicates: int, seed: int
) -> Verification:
    """What was found, with rank-1 where the list names its people, and with intervals; replicates 0: none."""
    result = with_intervals(
        found.result,
        found.scores,
        pairs.same,
        pairs.identities,
        folds=found.folds,
        replicates=replicates,
        seed=seed,
    )
    neighbours = neighbours_of(found, by, pairs)
    return result if neighbours is None else with_rank1(result, neighbours, replicates=replicates, seed=seed)


def neighbours_of(found: Evaluated, by: Matcher, pairs: PairSet | VideoPairs) -> Nearest | None:
    """The nearest neighbours by the cosine; None where the list names no people, or for Gaussians."""
    if pairs.known is None or by.score != "cosine":
        return None
    return nearest(found.rows.rows, found.rows.of_each(pairs.known))
