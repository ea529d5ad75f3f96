"""The `partialfc plot occlusion` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import MAX_PIXELS, AsJson, Device, ImageSource, MaxPixels, Trust
from partialfc.cli.groups import Selection, grouped
from partialfc.files import json_text

DRAWN = 10


@grouped
def occlusion(
    *,
    run: Annotated[
        Path, typer.Argument(help="Folder of a run with objective occlusion.", show_default=False)
    ],
    images: ImageSource,
    output: Annotated[
        Path | None, typer.Option(help="PNG file to write; default: occlusion.png in the run's folder.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Images that the IoU is measured on, at most.")] = 1000,
    drawn: Annotated[int, typer.Option(min=1, max=40, help="Images that are drawn.")] = DRAWN,
    seed: Annotated[int, typer.Option(min=0, help="Of which images, and of their covers.")] = 0,
    selection: Selection,
    max_pixels: MaxPixels = MAX_PIXELS,
    device: Device = "auto",
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Draw what a run's generator hides of images, and how well its branch predicts covers."""
    from partialfc.data.sources.source import open_source
    from partialfc.deploy.occlusion import look, read_pixels
    from partialfc.deploy.saved_occlusion import load_occlusion
    from partialfc.deploy.trained import load_trained
    from partialfc.distributed.device import local_device
    from partialfc.plot.occlusion_picture import draw_occlusion
    from partialfc.report.figure import check_picture

    check_picture("--output", output)
    target = local_device(device, name="--device")
    trained = load_trained(run, trust=trust or ())
    network = load_occlusion(trained)
    source = open_source(images, **vars(selection))
    pixels = read_pixels(trained, source, count=count, seed=seed, max_pixels=max_pixels)
    seen = look(network, pixels, device=target, seed=seed)
    picture = draw_occlusion(
        images=seen.images[:drawn],
        scores=seen.scores[:drawn],
        masks=seen.masks[:drawn],
        covered=seen.covered[:drawn],
        where=seen.where[:drawn],
        predicted=seen.predicted[:drawn],
        output=output or run / "occlusion.png",
    )
    if as_json:
        print(json_text({"images": len(pixels), "iou": seen.iou, "picture": str(picture)}))
        return
    for name, value in seen.iou.items():
        what = "masks of training" if name == "masks" else f"covers: {name}"
        print(f"{what:<20}IoU {value:.3f} of {len(pixels):,} images")
    print(picture)
