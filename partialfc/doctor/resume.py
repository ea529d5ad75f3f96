"""Checks of the run's folder: can it be written to, and can the run resume from what is in it?"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partialfc.checkpoint.folder import CheckpointFolder, find_checkpoint
from partialfc.checkpoint.state import read_state
from partialfc.distributed.world import World
from partialfc.doctor.check import Check, green, red, yellow
from partialfc.training.run_folder import differences

SHAPING = ("backbone.name ", "backbone.embedding_size ", "optimizer.name ")  # they decide on the tensors


def check_run_folder(folder: Path) -> Check:
    """folder: run.dir, which may not exist yet."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    remedy = "choose another run.dir"
    if not existing.is_dir():
        return red("run folder", f"{existing} is not a folder", remedy)
    if not os.access(existing, os.W_OK):
        return red("run folder", f"{existing} cannot be written to", remedy)
    return green(
        "run folder", f"{folder} " + ("is there" if existing == folder.absolute() else "will be made")
    )


def check_resume(folder: Path, how: str, *, classes: int, config: Mapping[str, Any]) -> Check:
    """Read the whole checkpoint that the run would resume from, and compare its settings with the job's.

    folder: run.dir; how: checkpoint.resume; classes: of this run; config: this run's, as it would be saved.
    Raises CheckpointError where a checkpoint that is asked for is missing or damaged.
    """
    kept = CheckpointFolder(folder / "checkpoints", World(None, 0, 1))
    newest = None if how not in ("auto", "never") else kept.newest_whole()
    if how == "never" and newest is not None:
        return red(
            "resume",
            f"checkpoint.resume is never, but {kept.path} holds checkpoints of another run",
            "choose another run.dir, or delete them",
        )
    checkpoint = newest if how in ("auto", "never") else find_checkpoint(Path(how))
    if checkpoint is None:
        return green("resume", "starts from the beginning")
    return judge_resume(checkpoint.name, read_state(checkpoint), classes=classes, config=config)


def judge_resume(name: str, state: Mapping[str, Any], *, classes: int, config: Mapping[str, Any]) -> Check:
    """name, state: of the checkpoint; classes, config: of this run."""
    changed = differences(state["config"], config)
    fatal = [change for change in changed if change.startswith(SHAPING)]
    if state["num_classes"] != classes:
        fatal.append(f"number of classes {state['num_classes']:,} -> {classes:,}")
    remedy = "set them as they were, or start in another run.dir"
    if fatal:
        return red("resume", f"{name} is of another run: {'; '.join(fatal)}", remedy)
    if changed:
        return yellow("resume", f"goes on from {name} with other settings: {'; '.join(changed)}", remedy)
    return green("resume", f"goes on from {name}")
