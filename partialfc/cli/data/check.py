"""The `partialfc data check` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import MAX_PIXELS, AsJson, ImageSource, MaxPixels, Workers
from partialfc.cli.groups import Selection, grouped
from partialfc.data.check.kinds import Kind

FOUND = 3  # exit status


@grouped
def check(
    *,
    context: typer.Context,
    source: ImageSource,
    selection: Selection,
    num_classes: Annotated[
        int | None,
        typer.Option(min=1, help="Class ids must be below it, as data.num_classes. Default: the source's."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HEIGHTxWIDTH", help="All images must have this size, such as 112x112."),
    ] = None,
    min_side: Annotated[
        int, typer.Option(min=1, help="Pixels that each side must have at least, without --size.")
    ] = 8,
    distance: Annotated[
        int,
        typer.Option(
            min=0, max=16, help="Bits of 64 in which the perceptual hashes of nearly equal images may differ."
        ),
    ] = 4,
    skip: Annotated[
        list[Kind] | None,
        typer.Option(help="What is not looked for; as often as you like.", show_default=False),
    ] = None,
    write_bad: Annotated[
        Path | None,
        typer.Option(help="File to write the keys of images into that training should leave out."),
    ] = None,
    write_near: Annotated[
        bool,
        typer.Option(
            "--write-near", help="Write to it too all but one of images nearly the same in a class."
        ),
    ] = False,
    page: Annotated[Path | None, typer.Option(help="HTML file to write, with the images.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file to write, with every finding.")
    ] = None,
    as_json: AsJson = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    workers: Workers = None,
) -> None:
    """Decode every image, and find what is wrong and what is there twice. Status 3: something was found."""
    from partialfc.cli.bars import stages
    from partialfc.cli.outputs import require_output
    from partialfc.cli.values import height_and_width
    from partialfc.data.check.check import check_source
    from partialfc.data.sources.keys import write_keys
    from partialfc.data.sources.source import open_source
    from partialfc.files import json_text, write_whole
    from partialfc.report.check_page import write_check_page
    from partialfc.report.check_summary import check_summary
    from partialfc.report.page import check_page

    check_page("--page", page)
    require_output(context, "--output", output)
    require_output(context, "--write-bad", write_bad)
    wanted = height_and_width("--size", size)
    opened = open_source(source, **vars(selection))
    with stages() as progress:
        found = check_source(
            opened,
            num_classes=num_classes,
            size=wanted,
            min_side=min_side,
            distance=distance,
            skip=skip or (),
            max_pixels=max_pixels,
            workers=workers,
            progress=progress,
        )
    document = json_text(found.document(), indent=2) if output or as_json else ""
    print(document if as_json else check_summary(found), flush=True)
    if output is not None:
        write_whole(output, document + "\n")
    if write_bad is not None:
        write_keys(write_bad, found.bad(near=write_near))
    if page is not None:
        write_check_page(found, page, max_pixels=max_pixels)
    if found.anything:
        raise typer.Exit(FOUND)
