"""The `partialfc evaluate` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import MAX_PIXELS, AsJson, MaxPixels, Trust
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
    max_pixels: MaxPixels = MAX_PIXELS,
    device: Annotated[
        str, typer.Option(help="auto, cpu, or the accelerator's name, such as cuda or xpu.")
    ] = "auto",
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well a trained backbone says whether two images show the same class."""
    from partialfc.data.pairs.files import read_pairs, require_images
    from partialfc.deploy.trained import load_trained
    from partialfc.distributed.device import local_device
    from partialfc.distributed.world import World
    from partialfc.evaluation.evaluate import evaluate_pairs

    pair_set = read_pairs(pairs)
    trained = load_trained(checkpoint, trust=trust or ())
    target = local_device(device, name="--device")
    try:
        require_images(pair_set, max_pixels=max_pixels)
        result, _ = evaluate_pairs(
            trained.backbone.to(target),
            pair_set,
            World.of(),
            embedding_size=trained.embedding_size,
            image_size=trained.image_size,
            channels=trained.channels,
            batch_size=batch_size,
            device=target,
            folds=folds,
            flip=flip,
            max_pixels=max_pixels,
        )
    except DataError as error:
        raise DataError(f"{pairs}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{pairs}: {error}") from error
    print(json_text(result.to_dict()) if as_json else result.describe())
