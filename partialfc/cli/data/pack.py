"""The `partialfc data pack` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import MAX_PIXELS, ImageSource, MaxPixels, Workers
from partialfc.cli.groups import Selection, grouped


@grouped
def pack(
    *,
    source: ImageSource,
    out: Annotated[Path, typer.Argument(help="Folder to write train.rec, .idx and classes.txt into.")],
    selection: Selection,
    max_bad: Annotated[
        int,
        typer.Option(min=0, help="How many images that cannot be decoded are left out; more are an error."),
    ] = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    workers: Workers = None,
    relabel: Annotated[
        bool, typer.Option("--relabel", help="Leave out classes without images, so that ids have no gaps.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier call wrote into OUT.")
    ] = False,
) -> None:
    """Pack images into RecordIO, in InsightFace's layout, without encoding them again."""
    from partialfc.cli.bars import stages
    from partialfc.data.sources.pack import pack_source
    from partialfc.files import require_folder

    require_folder("OUT", out)
    with stages() as progress:
        packed = pack_source(
            source,
            out,
            **vars(selection),
            relabel=relabel,
            overwrite=overwrite,
            max_bad=max_bad,
            max_pixels=max_pixels,
            workers=workers,
            progress=progress,
        )
    left_out = f", {packed.left_out:,} left out" if packed.left_out else ""
    print(f"{packed.path}: {packed.images:,} images of {packed.classes:,} classes{left_out}")
