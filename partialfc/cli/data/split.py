"""The `partialfc data split` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import ImageSource
from partialfc.cli.groups import Selection, grouped


@grouped
def split(
    *,
    source: ImageSource,
    out: Annotated[Path, typer.Argument(help="Folder to write train.txt and held-out.txt into.")],
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="N|N%", help="Hold out so many classes, or a share of them: to verify on unseen ones."
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(metavar="N|N%", help="Hold out so many images of each class, or a share of them."),
    ] = None,
    min_images: Annotated[
        int, typer.Option(min=1, help="With --classes: images that a class must have to be held out.")
    ] = 2,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same split.")] = 0,
    selection: Selection,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier call wrote into OUT.")
    ] = False,
) -> None:
    """Hold classes or images out of training: two files of keys, for data.only and --only."""
    from partialfc.cli.values import amount_of
    from partialfc.data.sources.source import open_source
    from partialfc.data.split.files import require_no_split, write_split
    from partialfc.data.split.hold_out import hold_out_classes, hold_out_images
    from partialfc.errors import ConfigError
    from partialfc.files import require_folder

    require_folder("OUT", out)
    if (classes is None) == (images is None):
        raise ConfigError("give one of --classes and --images: what is to be held out")
    of_classes, of_images = amount_of("--classes", classes), amount_of("--images", images)
    require_no_split(out, overwrite=overwrite)
    opened = open_source(source, **vars(selection))
    labels = opened.class_ids()
    if of_classes is not None:
        held = hold_out_classes(labels, of_classes, seed=seed, min_images=min_images)
    elif of_images is not None:
        held = hold_out_images(labels, of_images, seed=seed)
    for part in write_split(opened, labels, held, out):
        print(f"{part.path}: {part.images:,} images of {part.classes:,} classes")
