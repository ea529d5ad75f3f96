"""The `partialfc data pairs` command."""

from pathlib import Path
from typing import Annotated

import typer


def pairs(
    source: Annotated[Path, typer.Argument(help="A .rec file or an image folder.")],
    out: Annotated[Path, typer.Argument(help="Pair file to write (.bin).")],
    pairs: Annotated[int, typer.Option(help="Number of pairs; half are of the same class.")] = 6000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pairs.")] = 0,
) -> None:
    """Draw verification pairs from labelled images. Use classes that training never sees."""
    from partialfc.data.pairs.draw import make_pairs
    from partialfc.data.pairs.files import write_pairs
    from partialfc.data.sources.source import open_source

    drawn = make_pairs(open_source(source), pairs=pairs, seed=seed)
    write_pairs(out, drawn)
    print(f"{out}: {len(drawn.same):,} pairs, {int(drawn.same.sum()):,} genuine")
