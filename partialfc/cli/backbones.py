"""The `partialfc backbones` command."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import AsJson, Overrides
from partialfc.cli.values import is_given
from partialfc.errors import ConfigError
from partialfc.files import json_text

WITHOUT_CONFIG = {  # option -> the key that says it in a config
    "image_size": "data.image_size",
    "channels": "data.channels",
    "embedding": "backbone.embedding_size",
}


def backbones(
    context: typer.Context,
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
    from partialfc.backbones.cost import backbone_cost, known_costs
    from partialfc.backbones.describe import describe, to_dict
    from partialfc.config import load_config

    require_none_given(context, config)
    sizes = {"embedding_size": embedding, "image_size": image_size, "channels": channels}
    if config is None:
        costs, refused = known_costs(**sizes)
        for line in refused:
            print(line, file=sys.stderr)
    else:
        read = load_config(config, overrides or [])
        network, data = read.backbone, read.data
        given = (network.embedding_size, data.image_size, data.channels)
        sizes = dict(zip(sizes, given, strict=True))
        cost = backbone_cost(network.name, options=network.options, options_key="backbone.options", **sizes)
        costs = {network.name: cost}
    print(json_text(to_dict(costs, **sizes)) if as_json else describe(costs, **sizes))


def require_none_given(context: typer.Context, config: Path | None) -> None:
    """ConfigError for options that stand for a config where there is one, all of them together."""
    given = [name for name in WITHOUT_CONFIG if is_given(context, name)]
    if config is not None and given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        keys = " ".join(f"{WITHOUT_CONFIG[name]}={context.params[name]}" for name in given)
        raise ConfigError(f"{options}: only without CONFIG; with {config} write {keys}")
