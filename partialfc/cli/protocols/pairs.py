"""Verification: do both images of a pair show the same class? The option --pairs of `partialfc evaluate`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partialfc.cli.arguments import Score
from partialfc.cli.protocols.protocol import Answer, Protocol
from partialfc.errors import ConfigError, DataError

if TYPE_CHECKING:
    from partialfc.cli.protocols.setting import Setting

PANEL = "With --pairs"
Pairs = Annotated[
    Path | None,
    typer.Option(
        help="Verification on a pair file: .bin in InsightFace's format, or a text list.",
        rich_help_panel="What is measured: one of these",
        show_default=False,
    ),
]
Folds = Annotated[
    int,
    typer.Option(help="Number of folds in which the threshold is cross-validated.", rich_help_panel=PANEL),
]
PairScore = Annotated[
    Score,
    typer.Option(
        help="cosine, or mls: the likelihood of Gaussians; auto: mls for a run that has them.",
        rich_help_panel=PANEL,
    ),
]


def _run(setting: "Setting", options: Mapping[str, Any]) -> Answer:
    from partialfc.data.pairs.files import read_pairs, require_images
    from partialfc.deploy.matching import matcher
    from partialfc.evaluation.evaluate import evaluate_pairs
    from partialfc.evaluation.intervals import with_intervals

    path = options["pairs"]
    pair_set = read_pairs(path)
    by = matcher(setting.trained, options["score"])
    if setting.embedder.flip != "none" and by.score == "mls":
        raise ConfigError(
            f"--flip {setting.embedder.flip} joins two embeddings, and Gaussians cannot be joined so: leave "
            "it out, or take --score cosine"
        )
    embedder = replace(setting.embedder, network=by.network.to(setting.embedder.device), size=by.size)
    try:
        require_images(pair_set, max_pixels=embedder.max_pixels)
        folds = options["folds"]
        result, scores = evaluate_pairs(embedder, pair_set, folds=folds, scores_of=by.scores)
        if embedder.world.rank == 0:
            result = with_intervals(
                result,
                scores,
                pair_set.same,
                pair_set.identities,
                folds=folds,
                replicates=setting.replicates,
                seed=setting.seed,
            )
    except DataError as error:
        raise type(error)(f"{path}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    return Answer(result.describe(), result.to_dict())


VERIFICATION = Protocol("pairs", frozenset({"folds", "score"}), _run)
