"""The `partialfc data show` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import MAX_PIXELS, ImageSource, MaxPixels
from partialfc.cli.groups import Selection, grouped


@grouped
def show(
    *,
    source: ImageSource,
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG file to write.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Images at most, drawn at random.")] = 48,
    of_class: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="Of this class alone, by its name or, where it has none, its id; as often as you like.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other images.")] = 0,
    columns: Annotated[int, typer.Option(min=0, help="Images in a row. 0: about a square.")] = 0,
    side: Annotated[
        int, typer.Option(min=16, max=1024, help="Pixels of an image's side on the sheet.")
    ] = 112,
    selection: Selection,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Draw a contact sheet: images at random, of a class, or those that --only names."""
    from partialfc.data.check.choose import choose_images
    from partialfc.data.sources.source import open_source
    from partialfc.report.sheet import check_sheet, draw_sheet
    from partialfc.report.source_tiles import source_tile

    check_sheet("--output", output)
    opened = open_source(source, **vars(selection))
    chosen = choose_images(opened, count=count, seed=seed, classes=of_class or ()).tolist()
    title = f"{opened.origin}: {len(chosen):,} of {len(opened):,} images"
    tiles = [source_tile(opened, index, max_pixels=max_pixels) for index in chosen]
    draw_sheet(tiles, output, columns=columns, side=side, title=title)
    print(f"{output}: {len(chosen):,} images")
