"""The `partialfc data glyphs` command."""

from pathlib import Path
from typing import Annotated

import typer


def glyphs(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    fonts: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of fonts; may be given several times. Default: matplotlib's fonts."),
    ] = None,
    size: Annotated[int, typer.Option(help="Height and width in pixels.")] = 32,
    min_faces: Annotated[
        int, typer.Option(help="A character is used if at least so many font faces draw it.")
    ] = 8,
    holdout: Annotated[int, typer.Option(help="Characters kept out of training, for verification.")] = 500,
    pairs: Annotated[
        int, typer.Option(help="Number of verification pairs; half are of the same character.")
    ] = 12_000,
    colour: Annotated[bool, typer.Option(help="RGB images with random colours of ink and paper.")] = False,
    jitter: Annotated[
        float, typer.Option(help="How much size, place, angle and brightness vary at random: 0 to 1.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed and fonts give the same bytes.")] = 0,
) -> None:
    """Render a data set of many classes from fonts: a class for each character, an image for each face."""
    from partialfc.cli.bars import stages
    from partialfc.data.glyphs.build import build_glyphs
    from partialfc.files import require_folder

    require_folder("OUT", out)
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
