"""The `partialfc backbones` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import AsJson, Overrides
from partialfc.files import json_text


def backbones(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file whose backbone alone is shown.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    image_size: Annotated[int, typer.Option(min=1, help="Side of an image, without CONFIG.")] = 112,
    channels: Annotated[int, typer.Option(min=1, help="1 for grey, 3 for colour, without CONFIG.")] = 3,
    embedding: Annotated[int, typer.Option(min=1, help="Size D of the embedding, without CONFIG.")] = 512,
    as_json: AsJson = False,
) -> None:
    """List what backbones cost: parameters, FLOPs of an image, and memory of its activations in training.

    All that partialfc knows, or with CONFIG the one that it names, with its options and image size. FLOPs are
    of one embedding, two for a multiplication and addition; training takes three times as many. Activations
    are what the pass forward keeps for the pass back, in float32, without and with backbone.checkpointing.
    """
    from partialfc.backbones import BACKBONES
    from partialfc.backbones.cost import backbone_cost
    from partialfc.backbones.describe import describe, to_dict
    from partialfc.config import load_config

    names, options = [*BACKBONES], {}
    if config is not None:
        read = load_config(config, overrides or [])
        names, options = [read.backbone.name], read.backbone.options
        image_size, channels = read.data.image_size, read.data.channels
        embedding = read.backbone.embedding_size
    sizes = {"embedding_size": embedding, "image_size": image_size, "channels": channels}
    costs = {name: backbone_cost(name, options=options, **sizes) for name in names}
    print(json_text(to_dict(costs, **sizes)) if as_json else describe(costs, **sizes))
