"""Checks of the disk: room for the checkpoints, and how fast they are written."""

import os
import shutil
import tempfile
import time
from pathlib import Path

from partialfc.checkpoint.folder import CheckpointFolder
from partialfc.checkpoint.kept import line_of, most_at_once, tried_after
from partialfc.checkpoint.lineage import Lineage, Records
from partialfc.checkpoint.start import ALONE, asked_origin
from partialfc.config import CheckpointConfig
from partialfc.doctor.check import Check, green, red, yellow
from partialfc.plan.units import show_bytes, show_seconds

PIECE = 4 << 20
MOST_BYTES = 128 << 20
MOST_SECONDS = 3.0
SLOW = 0.05  # share of the run that writing checkpoints may take


def nearest_folder(path: Path) -> Path:
    """The path itself, or the closest folder above it that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def count_checkpoints(folder: Path, section: CheckpointConfig) -> int:
    """How many checkpoints are in the folder at a time, at most, in the run that is about to start."""
    try:
        records = CheckpointFolder(folder, ALONE).records()
    except OSError:  # which the check of the run's folder tells
        records = Records({})
    start = line_of(records, records.latest) or Lineage()
    if section.resume not in ("auto", "never") and not tried_after(
        records, asked_origin(Path(section.resume))
    ):
        start = Lineage()  # none of those that are there need lead to it
    return most_at_once(records, start, keep_last=section.keep_last, keep_best=section.keep_best)


def check_room(folder: Path, *, checkpoint: int, count: int) -> Check:
    """folder: of checkpoints. checkpoint: bytes of one, of all ranks; count: how many at a time, at most."""
    free = shutil.disk_usage(nearest_folder(folder)).free
    kept = sum(file.stat().st_size for file in folder.glob("step-*/*"))
    return judge_room(free, kept=kept, checkpoint=checkpoint, count=count)


def judge_room(free: int, *, kept: int, checkpoint: int, count: int) -> Check:
    """free: bytes; kept: bytes of checkpoints that are there now and will be deleted in the run."""
    need = max(0, checkpoint * count - kept)
    says = f"{show_bytes(free)} free in run.dir for {count} checkpoints of {show_bytes(checkpoint)}"
    remedy = "free some, choose a run.dir on another disk, or lower checkpoint.keep_last"
    if free < need:
        return red("disk space", f"{says}: {show_bytes(need - free)} short", remedy)
    if free < 1.25 * need:
        return yellow("disk space", f"{says}: nearly full then", remedy)
    return green("disk space", says)


def check_writing(folder: Path, *, checkpoint: int, interval: float | None) -> Check:
    """Write a file and delete it. interval: seconds of training between two checkpoints, where known."""
    where = nearest_folder(folder)
    try:
        rate = write_rate(where)
    except OSError as error:
        return red(
            "disk writing",
            f"{where} cannot be written to: {error.strerror}",
            "choose another run.dir, or free some space and let this user write there",
        )
    return judge_writing(rate, checkpoint=checkpoint, interval=interval)


def judge_writing(rate: float, *, checkpoint: int, interval: float | None) -> Check:
    """rate: bytes a second. Training waits as long as a checkpoint is being written."""
    seconds = checkpoint / rate
    says = f"{show_bytes(rate)}/s, so a checkpoint takes {show_seconds(seconds)}"
    if interval is None:
        return green("disk writing", says)
    share = seconds / (seconds + interval)
    if share > SLOW:
        says += f", {share:.0%} of the run"
        return yellow("disk writing", says, "checkpoint less often, or choose a run.dir on a faster disk")
    return green("disk writing", says)


def write_rate(folder: Path) -> float:
    """Bytes a second that reach the disk. Raises OSError where the folder cannot be written to."""
    most = min(MOST_BYTES, 1 + shutil.disk_usage(folder).free // 2)
    piece = os.urandom(min(PIECE, most))  # random, so that a file system cannot compress it
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
        began, written = time.perf_counter(), 0
        while written < most and time.perf_counter() - began < MOST_SECONDS:
            written += file.write(piece)
        file.flush()
        os.fsync(file.fileno())
        return written / (time.perf_counter() - began)
