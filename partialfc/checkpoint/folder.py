"""The folder of a run's checkpoints: each is written under another name and renamed once it is whole.

run/checkpoints/step-00001200/   one checkpoint
run/checkpoints/latest           the name of the newest one, moved last
run/checkpoints/best             the name of the best one
run/checkpoints/lineage          the newest one, those that it goes on from, and where the run began
"""

import json
import logging
import os
import re
import shutil
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partialfc.checkpoint.kept import line_of, still_there, superseded
from partialfc.checkpoint.lineage import Found, Lineage, Records, Saved
from partialfc.checkpoint.state import read_seal, read_state
from partialfc.checkpoint.store import read_checkpoint, write_checkpoint
from partialfc.checkpoint.tensors import Tensors, total_bytes
from partialfc.distributed.first_rank import on_first_rank
from partialfc.distributed.world import World
from partialfc.errors import CheckpointError
from partialfc.files import at_least, put_in_place, remove, replacing, show_size, sync, told, write_whole

log = logging.getLogger(__name__)

NAME = re.compile(r"step-\d{8,}")
REPLACED = re.compile(rf"\.({NAME.pattern})\.\d+\.old")  # by files.put_in_place, while it renames two folders
LEFTOVER = re.compile(rf"{NAME.pattern}\.partial|\.(latest|best|lineage)\.\d+\.partial|{REPLACED.pattern}")


class CheckpointFolder:
    """The checkpoints of one run. Collective, to be called on every rank: all but `path_of`."""

    def __init__(self, path: Path, world: World) -> None:
        self.path = path
        self.world = world
        self._home = _opened(path.parent)
        if self._home is not None:
            weakref.finalize(self, os.close, self._home)
        self._after: Lineage | None = None

    def go_on_from(self, lineage: Lineage) -> None:
        """Say what the next checkpoint goes on from. Unsaid, it is the folder's newest one."""
        self._after = lineage

    def save(self, step: int, tensors: Tensors, state: Mapping[str, Any], *, num_classes: int) -> Path:
        """Write a checkpoint, then let `latest` name it; a crash at any moment leaves the last one whole.

        Raises CheckpointError on every rank where it cannot be written; then nothing is left of it.
        """
        final = self.path_of(step)
        partial = final.with_suffix(".partial")
        try:
            lineage = on_first_rank(self.world, lambda: self._begin(partial))
            about = {**state, "lineage": lineage}
            write_checkpoint(partial, tensors, about, self.world, num_classes=num_classes)
            on_first_rank(self.world, lambda: self._finish(partial, final, Lineage.from_dict(lineage)))
        except CheckpointError:
            on_first_rank(self.world, lambda: shutil.rmtree(partial, ignore_errors=True))
            raise
        except OSError as error:
            failure, size = error, total_bytes(tensors, num_classes, self.world)
            says = on_first_rank(self.world, lambda: self._give_up(partial, final, failure, size))
            raise CheckpointError(says) from error
        return final

    def path_of(self, step: int) -> Path:
        """The folder of a step's checkpoint."""
        return self.path / f"step-{step:08d}"

    def mark_best(self, checkpoint: Path) -> None:
        """Let `best` name the checkpoint, so that it is kept."""
        on_first_rank(self.world, lambda: write_whole(self.path / "best", checkpoint.name))

    def prune(self, keep_last: int) -> None:
        """Delete what `kept.superseded` says, and what an interrupted save left behind."""
        on_first_rank(self.world, lambda: self._prune(keep_last))

    def records(self) -> Records:
        """What the folder says of its checkpoints, as rank 0 sees it: on a network another may see it later.

        Raises OSError where the folder cannot be read.
        """
        return Records.from_dict(on_first_rank(self.world, lambda: self._records().to_dict()))

    def load(self, checkpoint: Path, tensors: Tensors, *, num_classes: int) -> tuple[dict[str, Any], Tensors]:
        """Read a checked checkpoint into the tensors; returns and raises what `read_checkpoint` does."""
        return read_checkpoint(checkpoint, tensors, self.world, num_classes=num_classes)

    def _begin(self, partial: Path) -> dict[str, Any]:
        """Make the folder to write into; returns what the checkpoint goes on from."""
        if self._home is None or not _is_at(self.path.parent, self._home):
            raise CheckpointError(
                f"{self.path.parent} was removed, moved or replaced while the run used it, so nothing is "
                "saved there; start the run again, with run.dir where its checkpoints are now"
            )
        self.path.mkdir(exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        records = self._records()
        after = self._after or line_of(records, records.latest) or Lineage()
        lineage = still_there(records, after)
        if self._after is not None and after.line and after.line[0] not in lineage.line:
            log.warning(
                "%s was removed or replaced while the run used it, by another process; the next checkpoint "
                "is saved in this folder all the same",
                self.path / after.line[0].name,
            )
        return lineage.to_dict()

    def _finish(self, partial: Path, final: Path, before: Lineage | None) -> None:
        """Put a whole checkpoint in its place, and let `latest` name it."""
        assert before is not None
        if final.is_dir() and _pointer(self.path / "best") == final.name:
            (self.path / "best").unlink()  # it named the checkpoint that is replaced now
        lineage = before.followed_by(Saved(final.name, read_seal(partial)))
        with replacing(self.path / "latest") as latest, replacing(self.path / "lineage") as listing:
            for path, text in ((listing, json.dumps(lineage.to_dict())), (latest, final.name)):
                path.write_text(text)  # all that takes room, before the first of the renames
                sync(path)
            put_in_place(partial, final)  # which is there already if a resumed run does a step again
        self._after = lineage

    def _give_up(self, partial: Path, final: Path, error: OSError, size: int) -> str:
        """Delete what was written; returns what to tell of it. size: of a checkpoint's numbers, in bytes."""
        shutil.rmtree(partial, ignore_errors=True)
        latest = _pointer(self.path / "latest")
        before = 0 if latest is None else _size_on_disk(self.path / latest)
        takes = show_size(at_least(max(size, before), error, partial))
        kept = "there is none before it" if latest is None else f"the one before, {latest}, stays as it is"
        return (
            f"{final.name} cannot be saved: {told(error)}; it takes about {takes}, and {kept}. Make room for "
            "it, or let this user write there, and start the run again"
        )

    def _prune(self, keep_last: int) -> None:
        records = self._records()
        for name in superseded(records, keep_last=keep_last):
            aside = self.path / f"{name}.partial"  # so that a crash leaves no half of it under its name
            try:
                (self.path / records.found[name].folder).rename(aside)
            except OSError as error:
                log.warning("%s is no longer needed, but cannot be deleted: %s", name, told(error))
        here = {found.folder for found in self._records().found.values()}
        for leftover in self.path.iterdir():
            if LEFTOVER.fullmatch(leftover.name) and leftover.name not in here:
                remove(leftover)

    def _records(self) -> Records:
        try:
            folders = sorted(entry.name for entry in os.scandir(self.path) if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            folders = []
        found = {name[1]: _found(self.path / name[0]) for name in map(REPLACED.fullmatch, folders) if name}
        found |= {name: _found(self.path / name) for name in folders if NAME.fullmatch(name)}
        return Records(
            found,
            _pointer(self.path / "latest"),
            _pointer(self.path / "best"),
            _noted(self.path / "lineage"),
        )


def _found(checkpoint: Path) -> Found:
    try:
        state = read_state(checkpoint)
        return Found(checkpoint.name, read_seal(checkpoint), Lineage.from_dict(state.get("lineage")))
    except CheckpointError:
        return Found(checkpoint.name, None, None)


def _pointer(path: Path) -> str | None:
    """The name that `latest` or `best` holds; None without that file."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _size_on_disk(folder: Path) -> int:
    """Bytes, with the description of the tensors and all that is not numbers; 0 where it cannot be seen."""
    try:
        return sum(file.stat().st_blocks * 512 for file in folder.iterdir())
    except OSError:
        return 0


def _noted(path: Path) -> Lineage | None:
    try:
        return Lineage.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None


def _opened(folder: Path) -> int | None:
    """A descriptor of the folder, by which it is known under any name; None where there is no such folder."""
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the folder of that descriptor is still the one at `path`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False
