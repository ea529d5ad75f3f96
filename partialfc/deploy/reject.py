"""What rejecting images by a run's quality gains on pairs: error against the share that is rejected."""

from collections.abc import Mapping
from typing import Any

from partialfc.data.pairs.files import PairSet
from partialfc.deploy.matching import Score, matcher
from partialfc.deploy.quality import By, random_quality, rater
from partialfc.deploy.trained_network import Trained
from partialfc.evaluation.embed import embed
from partialfc.evaluation.reject import RejectCurve, error_versus_reject

RANDOM = "random"


def reject_curves(
    runs: Mapping[str, Trained],
    pairs: PairSet,
    *,
    by: By = "auto",
    score: Score = "auto",
    fmr: float = 1e-3,
    **how: Any,
) -> dict[str, RejectCurve]:
    """The curves of every run by its quality, named "RUN: quality", and one of random quality for each run.

    Pairs are matched by the run's own score. how: further arguments of `embed`.

    Raises ConfigError for what a run does not have, ImageError for an image that cannot be decoded,
    ValueError for too few impostor pairs for `fmr`.
    """
    curves: dict[str, RejectCurve] = {}
    for name, trained in runs.items():
        match = matcher(trained, score)
        rate = rater(trained, by)
        rows = {
            network: embed(
                network, pairs.images, image_size=trained.image_size, channels=trained.channels, **how
            )
            for network in {match.network, rate.network}
        }
        scores = match.scores(rows[match.network].numpy())
        qualities = {
            rate.by: rate.quality(rows[rate.network]).numpy(),
            RANDOM: random_quality(len(scores) * 2),
        }
        for kind, quality in qualities.items():
            curves[f"{name}: {kind}"] = error_versus_reject(
                scores, pairs.same, quality.reshape(-1, 2), fmr=fmr
            )
    return curves
