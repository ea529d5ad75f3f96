"""The `partialfc init` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import ClassDepth


def init(
    context: typer.Context,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES... [section.key=value]...",
            help="Images with classes, as data.train: a folder, FOLDER/class/image.jpg, a .rec file, a text "
            "list, or several; then what the config is to say.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Config to write, as YAML; other files go beside it.")
    ] = Path("config.yaml"),
    class_depth: ClassDepth = 1,
    hold_out: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Classes kept out of training, to verify on; 0: none. Default: a tenth, 10 to 500, or none "
            "where pair files (.bin) lie beside a .rec.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the classes held out, the pairs, and the run.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Look at images and this machine, and write a config that trains well there, with a reason for each key.

    What is given as section.key=value goes into it, and the other keys follow: half the batch, half the rate.
    """
    from partialfc.cli.outputs import require_output
    from partialfc.suggest.asked import Asked
    from partialfc.suggest.train import run_dir_for, split
    from partialfc.suggest.write import write_suggestion

    sources, overrides = split(images)
    if not sources:
        raise typer.BadParameter("give the images to look at", param_hint="IMAGES")
    if not output.is_dir():  # which has a message of its own
        require_output(context, "--output", output)
    said = write_suggestion(
        Asked(
            images=sources,
            path=output,
            run_dir=run_dir_for(sources[0]),
            overrides=overrides,
            class_depth=class_depth,
            hold_out=hold_out,
            seed=seed,
            overwrite=overwrite,
        )
    )
    print(*said, sep="\n")
