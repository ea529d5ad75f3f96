"""The `partialfc quality` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import MAX_PIXELS, AsJson, ImageSource, MaxPixels, Model, QualityBy
from partialfc.cli.groups import Network, Selection, grouped


@grouped
def quality(
    *,
    context: typer.Context,
    checkpoint: Model,
    images: ImageSource,
    by: Annotated[
        QualityBy,
        typer.Option(help="norm: the embedding's length; pfe: one over its sigma; auto: what the run is."),
    ] = "auto",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write, instead of the output."),
    ] = None,
    selection: Selection,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 256,
    max_pixels: MaxPixels = MAX_PIXELS,
    network: Network,
    as_json: AsJson = False,
) -> None:
    """Write how good each image is by a trained network, as CSV: image, class, quality; higher is better."""
    from partialfc.cli.outputs import require_output
    from partialfc.data.sources.source import open_source
    from partialfc.deploy.quality import image_qualities, rater
    from partialfc.deploy.quality_table import write_qualities
    from partialfc.distributed.device import local_device

    require_output(context, "--output", output)
    target = local_device(network.device, name="--device")
    trained = network.load(checkpoint)
    source = open_source(images, **vars(selection))
    rated = rater(trained, by)
    rated.network.to(target)
    found = image_qualities(
        trained, rated, source, batch_size=batch_size, device=target, max_pixels=max_pixels
    )
    write_qualities(source, found, by=rated.by, output=output, as_json=as_json)
