"""The `partialfc data pack` command."""

from pathlib import Path
from typing import Annotated

import typer


def pack(
    folder: Annotated[Path, typer.Argument(help="Image folder: FOLDER/class/image.jpg.")],
    out: Annotated[Path, typer.Argument(help="Folder to write train.rec, .idx and classes.txt into.")],
) -> None:
    """Pack an image folder into RecordIO, in InsightFace's layout, without encoding the images again."""
    from partialfc.data.sources.pack import pack_folder

    packed = pack_folder(folder, out)
    print(f"{packed.path}: {packed.images:,} images of {packed.classes:,} classes")
