"""The `partialfc data clean` command."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from partialfc.cli.arguments import MAX_PIXELS, AsJson, ImageSource, MaxPixels, Model
from partialfc.cli.groups import Network, Selection, grouped

By = Literal["means", "centres"]


@grouped
def clean(
    *,
    context: typer.Context,
    checkpoint: Model,
    source: ImageSource,
    write_wrong: Annotated[
        Path | None,
        typer.Option(
            help="File to write the keys of the images into that training should leave out, for "
            "data.leave_out; those of --leave-out too."
        ),
    ] = None,
    precision: Annotated[
        float,
        typer.Option(help="The share of these images whose labels should really be wrong, by its estimate."),
    ] = 0.97,
    by: Annotated[
        By,
        typer.Option(
            help="What images are compared with: means of their classes, each without the image itself; or "
            "the run's trained centres, of sub-centres the one that most of the class is nearest to."
        ),
    ] = "means",
    page: Annotated[Path | None, typer.Option(help="HTML file to write, with the images.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file to write, with every finding.")
    ] = None,
    as_json: AsJson = False,
    selection: Selection,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 256,
    seed: Annotated[int, typer.Option(help="Of the random labels that the estimates rest on.")] = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    network: Network,
) -> None:
    """Find wrong labels, classes of one identity and mixed classes with a trained network."""
    from itertools import chain

    import torch

    from partialfc.cleaning.document import document, leave_out_lines, summary
    from partialfc.cleaning.findings import find_all
    from partialfc.cleaning.page import write_clean_page
    from partialfc.cli.bars import stages
    from partialfc.cli.outputs import require_output
    from partialfc.data.benchmarks.image_set import of_source
    from partialfc.data.sources.keys import read_keys, write_keys
    from partialfc.data.sources.source import open_source
    from partialfc.deploy.class_centres import centres_of
    from partialfc.deploy.unit_embeddings import unit_embeddings
    from partialfc.distributed.device import local_device
    from partialfc.errors import ConfigError
    from partialfc.files import json_text, write_whole
    from partialfc.report.page import check_page

    check_page("--page", page)
    require_output(context, "--output", output)
    require_output(context, "--write-wrong", write_wrong)
    if not 0 < precision < 1:
        raise ConfigError(f"--precision is {precision}; it must be above 0 and below 1, such as 0.97")
    target = local_device(network.device, name="--device")
    trained = network.load(checkpoint)
    opened = open_source(source, **vars(selection))
    centres = centres_of(trained, opened) if by == "centres" else None
    trained.backbone.to(target)
    images = of_source(opened)
    with stages() as progress:
        rows = unit_embeddings(
            trained,
            images,
            batch_size=batch_size,
            device=target,
            max_pixels=max_pixels,
            progress=progress,
        )
    labels = torch.from_numpy(images.labels)
    classes = max(opened.num_classes, int(labels.max()) + 1)
    found = find_all(
        rows,
        labels,
        classes,
        centres=centres,
        precision=precision,
        seed=seed,
        device=target,
        origin=opened.origin,
    )
    text = json_text(document(found, opened, labels), indent=2) if output or as_json else ""
    if output is not None:
        write_whole(output, text + "\n")
    if write_wrong is not None:
        keys = [] if selection.leave_out is None else read_keys(selection.leave_out)
        before = ((key, "left out before") for _, key in keys)
        write_keys(write_wrong, chain(before, leave_out_lines(found, opened, labels)))
    if page is not None:
        write_clean_page(found, opened, labels, page, max_pixels=max_pixels)
    print(text if as_json else summary(found, labels))
