"""The `partialfc data pairs` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import MAX_PIXELS, ImageSource, MaxPixels
from partialfc.cli.groups import Selection, grouped


@grouped
def pairs(
    *,
    context: typer.Context,
    source: ImageSource,
    out: Annotated[Path, typer.Argument(help="Pair file to write (.bin).")],
    pairs: Annotated[int, typer.Option(help="Number of pairs; half are of the same class.")] = 6000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pairs.")] = 0,
    selection: Selection,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Draw verification pairs from labelled images. Use classes that training never sees."""
    from partialfc.cli.outputs import require_output
    from partialfc.data.pairs.draw import make_pairs
    from partialfc.data.pairs.files import write_pairs
    from partialfc.data.sources.source import open_source

    require_output(context, "OUT", out)
    opened = open_source(source, **vars(selection))
    drawn = make_pairs(opened, pairs=pairs, seed=seed, max_pixels=max_pixels)
    write_pairs(out, drawn)
    print(f"{out}: {len(drawn.same):,} pairs, {int(drawn.same.sum()):,} genuine")
