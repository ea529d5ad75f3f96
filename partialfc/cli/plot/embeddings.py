"""The `partialfc plot embeddings` command."""

from typing import Annotated

import typer

from partialfc.cli.arguments import Picture


def embeddings(
    output: Picture,
    dimensions: Annotated[int, typer.Option(min=2, max=3, help="2: on the plane; 3: on the sphere.")] = 2,
    images: Annotated[int, typer.Option(min=16, help="Images of each of the 8 digits to train on.")] = 1500,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over them, for each loss.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of the images, the network and their order.")] = 0,
) -> None:
    """Train a small network on rendered digits with one loss after the other, and draw its embeddings."""
    from partialfc.cli.bars import stages
    from partialfc.plot.embeddings_picture import draw_embeddings
    from partialfc.plot.experiment import embed_digits
    from partialfc.report.figure import check_picture

    check_picture("OUTPUT", output)
    with stages() as progress:
        found = embed_digits(
            dimensions=dimensions, images=images, epochs=epochs, seed=seed, progress=progress
        )
    for name, each in found.items():
        loss, degrees = name.replace("\n", " "), f"{each.degrees:5.2f}\N{DEGREE SIGN}"
        print(f"{loss:<38}accuracy {each.accuracy:7.2%}   mean angle to the own centre {degrees}")
    print(draw_embeddings(found, output))
