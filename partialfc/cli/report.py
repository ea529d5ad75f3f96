"""The `partialfc report` command."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    output: Annotated[
        Path | None, typer.Option(help="PNG file to write; default: report.png in the run's folder.")
    ] = None,
) -> None:
    """Summarise a run, and draw its loss, its target angles and the ROC of each verification set."""
    from partialfc.report.figure import check_picture
    from partialfc.report.run_picture import draw_report
    from partialfc.report.run_summary import summarise

    check_picture("--output", output)
    drawn = draw_report(run, output or run / "report.png")
    print(summarise(run))
    print(f"{'picture':<16}{drawn}")
