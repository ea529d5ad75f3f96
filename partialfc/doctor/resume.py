"""Checks of the run's folder: can it be written to, and can the run resume from what is in it?"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from partialfc.checkpoint.folder import CheckpointFolder
from partialfc.checkpoint.start import ALONE, Start, newest_whole
from partialfc.checkpoint.state import read_state
from partialfc.data.sources.labelled import Labelled
from partialfc.doctor.check import Check, Level, first_line, green, red, yellow
from partialfc.errors import CheckpointError, ConfigError
from partialfc.files import told
from partialfc.training.resumable import REMEDY, obstacles
from partialfc.training.run_folder import differences, problem_of
from partialfc.training.same_data import other_classes, way_out
from partialfc.training.saving import find_start


def check_run_folder(folder: Path) -> Check:
    """folder: run.dir, which may not exist yet."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    remedy = "choose another run.dir"
    allow = f"{remedy}, or let this user write there"
    if not existing.is_dir():
        return red("run folder", f"{existing} is not a folder", remedy)
    if not os.access(existing, os.W_OK):
        return red("run folder", f"{existing} cannot be written to", allow)
    if problem := problem_of(folder):
        says, _, what = problem.partition(": ")
        return red("run folder", says, what or allow)
    return green(
        "run folder", f"{folder} " + ("is there" if existing == folder.absolute() else "will be made")
    )


def check_resume(
    folder: Path, how: str, source: Labelled | None, *, classes: int, config: Mapping[str, Any]
) -> Check:
    """Read the whole checkpoint that the run would resume from, and compare its settings with the job's.

    folder: run.dir; how: checkpoint.resume; classes: of this run; config: this run's, as it would be saved.
    """
    kept = CheckpointFolder(folder / "checkpoints", ALONE)
    try:
        start = find_start(kept, how)
    except ConfigError as error:  # it says itself what to do
        says, _, remedy = first_line(error).rpartition(": ")
        return red("resume", says, remedy)
    except CheckpointError as error:
        return red("resume", first_line(error), _other_start(kept, how))
    except OSError as error:
        return red("resume", told(error), "let this user read it")
    if start is None:
        return green("resume", "starts from the beginning")
    found = judge_resume(
        start.checkpoint, read_state(start.checkpoint), source, classes=classes, config=config
    )
    return _with_history(found, start, how)


def _other_start(kept: CheckpointFolder, how: str) -> str:
    """What to do where what is asked for cannot be resumed from: a checkpoint that can be, or a beginning."""
    if how != "auto":
        return "let checkpoint.resume be auto, or the path of a whole checkpoint or of a run with one"
    records = kept.records()
    if whole := newest_whole(kept, records, records.found):
        return f"set checkpoint.resume={whole}, or choose another run.dir"
    return "choose another run.dir: nothing here can be resumed from"


def _with_history(found: Check, start: Start, how: str) -> Check:
    """The result, with why it is this checkpoint where a user may have expected another."""
    says = found.says
    if start.again:
        says += f", because the run began from {how} before"
    if start.aside:
        says += f"; {', '.join(start.aside)} did not lead to it and will be deleted"
    if not start.damaged:
        return replace(found, says=says)
    says += f"; {', '.join(start.damaged)} is damaged"
    if found.level == Level.RED:
        return replace(found, says=says)
    return yellow("resume", says, found.remedy or "look at the disk; it goes on all the same")


def judge_resume(
    checkpoint: Path,
    state: Mapping[str, Any],
    source: Labelled | None,
    *,
    classes: int,
    config: Mapping[str, Any],
) -> Check:
    """state: the checkpoint's; source: the data, where it can be opened; classes, config: of this run."""
    name = checkpoint.name
    changed = differences(state["config"], config)
    fatal = [change for change in changed if change.startswith("backbone.name ")]
    fatal += obstacles(state["config"], config)
    if fatal:
        return red("resume", f"{name} is of another run: {'; '.join(fatal)}", REMEDY)
    if source is not None and (
        differs := other_classes(checkpoint, state, source, config["data"], num_classes=classes)
    ):
        return red("resume", f"{name} is of other classes: {differs}", way_out(checkpoint))
    if changed:
        return yellow("resume", f"goes on from {name} with other settings: {'; '.join(changed)}", REMEDY)
    return green("resume", f"goes on from {name}")
