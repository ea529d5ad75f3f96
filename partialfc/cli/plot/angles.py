"""The `partialfc plot angles` command."""

from pathlib import Path
from typing import Annotated

import typer


def angles(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, side by side.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(help="PNG file to write; default: angles.png in the first run's folder.")
    ] = None,
) -> None:
    """Draw the angles between embeddings, own and other centres at the start, middle and end of runs."""
    from partialfc.plot.angles_picture import draw_angles
    from partialfc.report.figure import check_picture

    check_picture("--output", output)
    print(draw_angles(runs, output or runs[0] / "angles.png"))
