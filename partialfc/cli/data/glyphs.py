"""The `partialfc data glyphs` command."""

from pathlib import Path
from typing import Annotated

import typer


def glyphs(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    fonts: Annotated[list[Path] | None, typer.Option(help="Folder of fonts; may be repeated.")] = None,
    size: Annotated[int, typer.Option(help="Height and width in pixels.")] = 32,
    min_faces: Annotated[int, typer.Option(help="Font faces that must draw a character.")] = 8,
    holdout: Annotated[int, typer.Option(help="Characters kept out of training, for verification.")] = 500,
    pairs: Annotated[int, typer.Option(help="Verification pairs, half of them genuine.")] = 12_000,
    colour: Annotated[bool, typer.Option(help="RGB with random ink and paper.")] = False,
    jitter: Annotated[float, typer.Option(help="Random size, place, angle and levels: 0 to 1.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Same seed and fonts, same bytes.")] = 0,
) -> None:
    """Render a many-class data set from fonts: one class a character, one image a font face."""
    from partialfc.cli.bars import stages
    from partialfc.data.glyphs.build import build_glyphs

    with stages() as progress:
        made = build_glyphs(
            out,
            fonts=fonts or (),
            size=size,
            min_faces=min_faces,
            holdout=holdout,
            pairs=pairs,
            colour=colour,
            jitter=jitter,
            seed=seed,
            progress=progress,
        )
    print(
        f"{out}: {made.images:,} images of {made.characters:,} characters from {made.faces} font faces, "
        f"{made.pairs:,} pairs of {made.held_out:,} other characters, in {made.seconds:.0f} s"
    )
    print("dropped: " + ", ".join(f"{count:,} {what}" for what, count in made.dropped.items()))
