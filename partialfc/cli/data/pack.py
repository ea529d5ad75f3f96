"""The `partialfc data pack` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import MAX_PIXELS, ClassDepth, MaxPixels


def pack(
    folder: Annotated[Path, typer.Argument(help="Image folder: FOLDER/class/image.jpg.")],
    out: Annotated[Path, typer.Argument(help="Folder to write train.rec, .idx and classes.txt into.")],
    class_depth: ClassDepth = 1,
    max_bad: Annotated[
        int,
        typer.Option(min=0, help="How many images that cannot be decoded are left out; more are an error."),
    ] = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Pack an image folder into RecordIO, in InsightFace's layout, without encoding the images again."""
    from partialfc.data.sources.pack import pack_folder

    packed = pack_folder(folder, out, class_depth=class_depth, max_bad=max_bad, max_pixels=max_pixels)
    left_out = f", {packed.left_out:,} left out" if packed.left_out else ""
    print(f"{packed.path}: {packed.images:,} images of {packed.classes:,} classes{left_out}")
