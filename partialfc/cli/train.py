"""The `partialfc train` command."""

import typer

from partialfc.cli.arguments import ConfigFile, Overrides


def train(config: ConfigFile, overrides: Overrides = None) -> None:
    """Train what CONFIG describes. Run it again after an interruption, and it resumes.

    On N GPUs, start a process for each: torchrun --nproc-per-node N -m partialfc train CONFIG.
    """
    from partialfc.config import load_config
    from partialfc.training import run

    stopped_by = run.train(load_config(config, overrides or []))
    if stopped_by:
        raise typer.Exit(128 + stopped_by)  # as a shell reports it: 143 for SIGTERM, 130 for Ctrl-C
