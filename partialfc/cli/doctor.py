"""The `partialfc doctor` command."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import AsJson, Overrides
from partialfc.files import json_text


def doctor(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file of the job to check.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    quick: Annotated[bool, typer.Option("--quick", help="Compile nothing and time nothing.")] = False,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds to wait for other ranks.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Check that this machine can train, and that the job of CONFIG can run on it.

    Start it as the job will start: torchrun --nproc-per-node N -m partialfc doctor CONFIG.

    The exit status is 1 if anything is red.
    """
    from partialfc.config import load_config
    from partialfc.doctor import Level, Report, describe, examine, to_dict

    job = None if config is None else load_config(config, overrides or [])

    def show(report: Report) -> None:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(json_text(to_dict(report)) if as_json else describe(report, colour=colour), flush=True)

    if examine(job, quick=quick, timeout=timeout, show=show) == Level.RED:
        raise typer.Exit(1)
