"""The `partialfc train` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import Overrides


def train(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG|IMAGES",
            help="YAML or JSON file; or images: then a config is made as by partialfc init, in the run's "
            "folder.",
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
) -> None:
    """Train what CONFIG describes. Run it again after an interruption, and it resumes.

    On N GPUs, start a process for each: torchrun --nproc-per-node N -m partialfc train CONFIG.
    """
    from partialfc.config import load_config
    from partialfc.suggest.train import is_images, split, train_images
    from partialfc.training import run

    if is_images(config):
        stopped_by = train_images(*split([config, *(overrides or [])]))
    else:
        stopped_by = run.train(load_config(Path(config), overrides or []))
    if stopped_by:
        raise typer.Exit(128 + stopped_by)  # as a shell reports it: 143 for SIGTERM, 130 for Ctrl-C
