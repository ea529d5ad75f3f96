"""Which checkpoint a run goes on from, or a trained network is read from: found by what `kept.py` decides."""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from partialfc.checkpoint.checksums import check_checkpoint
from partialfc.checkpoint.folder import CheckpointFolder
from partialfc.checkpoint.kept import left_aside, line_of, tried_after, tried_in_order
from partialfc.checkpoint.lineage import Lineage, Origin, Records
from partialfc.checkpoint.state import STATE, read_seal
from partialfc.distributed.first_rank import on_first_rank
from partialfc.distributed.world import World
from partialfc.errors import CheckpointError

log = logging.getLogger(__name__)

ALONE = World(None, 0, 1)


@dataclass(frozen=True)
class Start:
    """A whole checkpoint, and how it was found.

    lineage: what the next checkpoint goes on from, this one first if it lies in the run's folder.
    damaged: the names of those that would have been before it. aside: those in the run's folder that it does
    not go on from. again: whether the run began from the named checkpoint before, and now goes on.
    """

    checkpoint: Path
    lineage: Lineage
    damaged: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    again: bool = False


def newest(folder: CheckpointFolder) -> Start | None:
    """Collective: the newest undamaged checkpoint of a run, None if it has none; the log names damaged ones.

    Raises CheckpointError where all are damaged, or only what was left aside is not: then one must be named.
    """
    records = folder.records()
    start = _first_whole(folder, records, tried_in_order(records))
    if start is None and records.found:
        raise CheckpointError(_none_left(folder, records))
    return start


def named(folder: CheckpointFolder, path: Path) -> Start:
    """Collective: the checkpoint at `path`, from which the run of `folder` is told to begin.

    path: of a checkpoint, or of a run, whose newest it is. Where the run has begun from it before, as when a
    cluster starts the same command again, it is the newest of the run itself. Raises CheckpointError where
    there is none, or it is damaged.
    """
    own = folder.path.resolve()
    if path.resolve() in (own, own.parent):
        start = newest(folder)
        if start is None:
            raise CheckpointError(_nothing_at(path))
        return start
    asked = Origin(str(path.resolve()), on_first_rank(folder.world, lambda: asked_origin(path).seal))
    records = folder.records()
    start = _first_whole(folder, records, tried_after(records, asked), again=True)
    if start is not None:
        return start
    checkpoint = find_checkpoint(path, folder.world)
    lineage = None
    if checkpoint.resolve().parent == own:
        lineage = line_of(records, checkpoint.name)
    lineage = lineage or Lineage()
    begun = lineage.begun_from(Origin(asked.path, on_first_rank(folder.world, lambda: read_seal(checkpoint))))
    return Start(checkpoint, begun, aside=tuple(left_aside(records, lineage)))


def find_checkpoint(path: Path, world: World = ALONE) -> Path:
    """Collective: the checkpoint at `path`, or the newest undamaged one of a run or a folder of checkpoints.

    Raises CheckpointError where there is none, or it is damaged.
    """
    if (path / STATE).exists():
        check_checkpoint(path, world)
        return path
    for folder in (path, path / "checkpoints"):
        start = newest(CheckpointFolder(folder, world))
        if start is not None:
            return start.checkpoint
    raise CheckpointError(_nothing_at(path))


def _first_whole(
    folder: CheckpointFolder, records: Records, names: Sequence[str], *, again: bool = False
) -> Start | None:
    for index, name in enumerate(names):
        checkpoint = folder.path / records.found[name].folder
        try:
            check_checkpoint(checkpoint, folder.world)
        except CheckpointError as error:
            if folder.world.rank == 0:
                log.warning("%s; trying the checkpoint before it", error)
            continue
        lineage = line_of(records, name) or Lineage()
        aside = {*left_aside(records, lineage)} - {*names[:index]}
        return Start(checkpoint, lineage, tuple(names[:index]), tuple(sorted(aside)), again)
    return None


def _none_left(folder: CheckpointFolder, records: Records) -> str:
    tried = tried_in_order(records)
    others = sorted({*records.found} - {*tried})
    whole = newest_whole(folder, records, others)
    if whole is None:
        return f"{folder.path}: none of the {len(records.found)} checkpoints is undamaged"
    name_it = f"name it by its path, for a run with checkpoint.resume={whole}"
    if not tried:
        return (
            f"{folder.path}: {records.latest or 'the file latest'} is missing or damaged, and which of "
            f"{', '.join(others)} came before it is not known. The newest undamaged one of these is "
            f"{whole.name}: if you want it, {name_it}"
        )
    return (
        f"{folder.path}: none of the {len(tried)} checkpoints that the run goes on from is undamaged, and "
        f"{', '.join(others)} did not lead to these. The newest undamaged one of the others is {whole.name}: "
        f"if you want it, {name_it}"
    )


def newest_whole(folder: CheckpointFolder, records: Records, names: Iterable[str]) -> Path | None:
    """Collective: of the named checkpoints the undamaged one of the highest step, None if all are damaged.

    Each is read until one is whole.
    """
    for name in sorted(names, key=lambda name: (len(name), name), reverse=True):
        checkpoint = folder.path / records.found[name].folder
        with suppress(CheckpointError, OSError):
            check_checkpoint(checkpoint, folder.world)
            return checkpoint
    return None


def _nothing_at(path: Path) -> str:
    gone = "" if path.exists() else "; it does not exist"
    return f"{path}: neither a checkpoint nor a run with checkpoints{gone}"


def asked_origin(path: Path) -> Origin:
    """What a run is told to begin from; without a seal for a run, or where it cannot be read."""
    try:
        return Origin(str(path.resolve()), read_seal(path))
    except CheckpointError:
        return Origin(str(path.resolve()), "")
