"""The `partialfc evaluate` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import MAX_PIXELS, AsJson, Device, MaxPixels, Score, Trust
from partialfc.errors import ConfigError, DataError
from partialfc.files import json_text


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a run, or of one checkpoint.")],
    pairs: Annotated[Path, typer.Option(help="Pair file: .bin in InsightFace's format, or a text list.")],
    folds: Annotated[
        int, typer.Option(help="Number of folds in which the threshold is cross-validated.")
    ] = 10,
    flip: Annotated[
        bool, typer.Option(help="Add the embedding of the mirrored image to each embedding.")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Images per forward pass.")] = 256,
    score: Annotated[
        Score,
        typer.Option(help="cosine, or mls: the likelihood of Gaussians; auto: mls for a run that has them."),
    ] = "auto",
    max_pixels: MaxPixels = MAX_PIXELS,
    device: Device = "auto",
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well a trained backbone says whether two images show the same class."""
    from partialfc.data.pairs.files import read_pairs, require_images
    from partialfc.deploy.matching import matcher
    from partialfc.deploy.trained import load_trained
    from partialfc.distributed.device import local_device
    from partialfc.distributed.world import World
    from partialfc.evaluation.evaluate import evaluate_pairs

    pair_set = read_pairs(pairs)
    trained = load_trained(checkpoint, trust=trust or ())
    by = matcher(trained, score)
    if flip and by.score == "mls":
        raise ConfigError(
            "--flip adds two embeddings, and Gaussians cannot be added: leave it out, or take --score cosine"
        )
    target = local_device(device, name="--device")
    try:
        require_images(pair_set, max_pixels=max_pixels)
        result, _ = evaluate_pairs(
            by.network.to(target),
            pair_set,
            World.of(),
            embedding_size=by.size,
            image_size=trained.image_size,
            channels=trained.channels,
            batch_size=batch_size,
            device=target,
            folds=folds,
            flip=flip,
            max_pixels=max_pixels,
            scores_of=by.scores,
        )
    except DataError as error:
        raise DataError(f"{pairs}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{pairs}: {error}") from error
    print(json_text(result.to_dict()) if as_json else result.describe())
