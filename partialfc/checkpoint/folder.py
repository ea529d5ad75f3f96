"""Checkpoints that any number of ranks can read: written beside, checked, renamed into place.

    run/checkpoints/step-00001200/   __0_0.distcp ... .metadata   torch.distributed.checkpoint: every tensor
                                     state.json                   everything else, and each file's checksum
    run/checkpoints/latest           the name of the newest one, moved last
    run/checkpoints/best             the name of the best one

Sharded tensors are saved as DTensors (Shard(0), the ranges of torch.chunk), so they load at another world
size without anyone gathering the whole. Nothing here unpickles freely.
"""

import json
import logging
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as load_tensors
from torch.distributed.checkpoint.state_dict_saver import save as save_tensors
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from partialfc.checkpoint.reading import InPlaceReader, open_through
from partialfc.checkpoint.safe_metadata import SafeReader
from partialfc.checkpoint.writing import PiecePlanner, SummedWriter, without_sums_of_torch
from partialfc.distributed.world import World
from partialfc.errors import CheckpointError
from partialfc.files import write_whole

log = logging.getLogger(__name__)

FORMAT = 1
STATE = "state.json"
BLOCK = 1 << 20  # stays in cache between being read and summed


@dataclass(frozen=True)
class Tensors:
    """What a checkpoint holds in tensors, by name.

    sharded: this rank's rows [C_l, ...] of matrices with one row a class; replicated: equal on every rank;
    private: this rank's own (random generators), which another world size does not read.
    """

    sharded: Mapping[str, Tensor]
    replicated: Mapping[str, Tensor]
    private: Mapping[str, Tensor]


class CheckpointFolder:
    """The checkpoints of one run; `save` and `load` are collective, every rank calls them together."""

    def __init__(self, path: Path, world: World) -> None:
        self.path = path
        self.world = world

    def save(self, step: int, tensors: Tensors, state: Mapping[str, Any], *, num_classes: int) -> Path:
        """Write a checkpoint and move `latest` to it; a crash at any moment leaves the one before whole."""
        final = self.path_of(step)
        partial = final.with_suffix(".partial")
        if self.world.rank == 0:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self.world.barrier()
        writer = SummedWriter(partial)
        with _named(f"{partial} cannot be written"), without_sums_of_torch():
            save_tensors(
                _flat(tensors, num_classes, self.world),
                storage_writer=writer,
                planner=PiecePlanner(),
                process_group=self.world.group,
                no_dist=self.world.size == 1,
            )
        checksums = self._gather_checksums(writer.sums)
        if self.world.rank == 0:
            document = {"format": FORMAT, "num_classes": num_classes, **state, "files": checksums}
            write_whole(partial / STATE, _sealed(document))
            _sync(partial)
            shutil.rmtree(final, ignore_errors=True)  # only ever a rerun of the same step
            partial.rename(final)
            _sync(self.path)
            write_whole(self.path / "latest", final.name)
        self.world.barrier()
        return final

    def path_of(self, step: int) -> Path:
        return self.path / f"step-{step:08d}"

    def mark_best(self, checkpoint: Path) -> None:
        if self.world.rank == 0:
            write_whole(self.path / "best", checkpoint.name)

    def prune(self, keep_last: int) -> None:
        """Delete all but the newest `keep_last` and the best; and what an interrupted save left behind."""
        if self.world.rank != 0:
            return
        best = _pointer(self.path / "best")
        for old in self._steps()[keep_last:]:
            if old.name != best:
                shutil.rmtree(old, ignore_errors=True)
        for leftover in self.path.glob("step-*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)

    def newest_whole(self) -> Path | None:
        """The newest undamaged checkpoint, None if there is none at all; damaged ones are named in the log.

        Raises CheckpointError where there are checkpoints but every one is damaged.
        """
        # Rank 0's listing counts: on a network file system another rank's may be older.
        candidates = [Path(line) for line in self.world.gather_texts(self._candidates())[0].splitlines()]
        for candidate in candidates:
            try:
                self.verify(candidate)
            except CheckpointError as error:
                if self.world.rank == 0:
                    log.warning("%s; trying the checkpoint before it", error)
                continue
            return candidate
        if candidates:
            raise CheckpointError(f"{self.path}: none of the {len(candidates)} checkpoints is undamaged")
        return None

    def verify(self, checkpoint: Path) -> dict[str, Any]:
        """The checkpoint's state, once every file has its size and checksum; else CheckpointError."""
        problem, state = "", {}
        try:
            state = read_state(checkpoint)
            for index, (name, (size, checksum)) in enumerate(sorted(state["files"].items())):
                if index % self.world.size == self.world.rank:
                    _check_file(checkpoint / name, size, checksum)
        except CheckpointError as error:
            problem = str(error)
        for rank, text in enumerate(self.world.gather_texts(problem)):
            if text:
                raise CheckpointError(text if rank == self.world.rank else f"{text} (found by rank {rank})")
        return state

    def load(self, checkpoint: Path, tensors: Tensors, *, num_classes: int) -> tuple[dict[str, Any], Tensors]:
        """Read a verified checkpoint into the sharded tensors given, in place.

        Returns its state, and the replicated and (at the same world size) private tensors as they were saved.
        Raises CheckpointError for another num_classes or shape.
        """
        state = read_state(checkpoint)
        if state["num_classes"] != num_classes:
            raise CheckpointError(
                f"{checkpoint} has num_classes {state['num_classes']}, this run has {num_classes}: "
                "a checkpoint resumes only with the classes it was trained on"
            )
        with _named(f"{checkpoint} cannot be read"):
            saved = SafeReader(checkpoint).read_metadata().state_dict_metadata
        wanted = _flat(Tensors(tensors.sharded, {}, {}), num_classes, self.world)
        for name, tensor in wanted.items():
            _check_kind(checkpoint, name, tensor, saved.get(name))
        same_world = state["world_size"] == self.world.size
        for name, entry in saved.items():
            kind, _, key = name.partition("/")
            mine = kind == "private" and same_world and key.startswith(f"{self.world.rank}/")
            if (kind == "replicated" or mine) and isinstance(entry, TensorStorageMetadata):
                wanted[name] = torch.empty(entry.size, dtype=entry.properties.dtype)
        with _named(f"{checkpoint} cannot be read"):
            load_tensors(
                wanted,
                storage_reader=InPlaceReader(checkpoint),
                process_group=self.world.group,
                no_dist=self.world.size == 1,
            )
        private = f"private/{self.world.rank}/"
        return state, Tensors(
            tensors.sharded,
            {k.removeprefix("replicated/"): v for k, v in wanted.items() if k.startswith("replicated/")},
            {k.removeprefix(private): v for k, v in wanted.items() if k.startswith(private)},
        )

    def _candidates(self) -> str:
        """The checkpoints to try, a line each: the one that `latest` names, then newest to oldest."""
        latest = _pointer(self.path / "latest")
        ordered = sorted(self._steps(), key=lambda path: path.name != latest)
        return "\n".join(map(str, ordered))

    def _steps(self) -> list[Path]:
        """The finished checkpoints, newest first."""
        found = [path for path in self.path.glob("step-*") if path.suffix != ".partial" and path.is_dir()]
        return sorted(found, key=lambda path: path.name, reverse=True)

    def _gather_checksums(self, mine: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        """Every file's size and checksum, from the ranks that wrote them."""
        merged: dict[str, tuple[int, int]] = {}
        for text in self.world.gather_texts(json.dumps(mine)):
            merged |= json.loads(text)
        return merged


def find_checkpoint(path: Path) -> Path:
    """A checkpoint, or the newest undamaged one of a run or a folder of checkpoints, as people name them."""
    if (path / STATE).exists():
        CheckpointFolder(path.parent, World(None, 0, 1)).verify(path)
        return path
    for folder in (path, path / "checkpoints"):
        newest = CheckpointFolder(folder, World(None, 0, 1)).newest_whole()
        if newest is not None:
            return newest
    raise CheckpointError(f"{path}: neither a checkpoint nor a run with checkpoints")


def read_state(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's plain values; CheckpointError if they are missing, damaged or of another format."""
    path = checkpoint / STATE
    try:
        seal, _, body = path.read_text().partition("\n")
        state: dict[str, Any] = json.loads(body)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if seal != _seal(body):
        raise CheckpointError(f"{path} is damaged: its first line is not the checksum of the others")
    if state["format"] != FORMAT:
        raise CheckpointError(f"{path} has format {state['format']}; this version reads {FORMAT}")
    return state


def load_replicated(checkpoint: Path, prefix: str) -> dict[str, Tensor]:
    """The replicated tensors whose name starts with `prefix`, without it, on one process alone."""
    start = f"replicated/{prefix}"
    with _named(f"{checkpoint} cannot be read"):
        saved = SafeReader(checkpoint).read_metadata().state_dict_metadata
        wanted = {
            name: torch.empty(entry.size, dtype=entry.properties.dtype)
            for name, entry in saved.items()
            if name.startswith(start) and isinstance(entry, TensorStorageMetadata)
        }
        load_tensors(wanted, storage_reader=InPlaceReader(checkpoint), no_dist=True)
    return {name.removeprefix(start): tensor for name, tensor in wanted.items()}


def checksum(path: Path) -> tuple[int, int]:
    """A file's size in bytes and CRC-32."""
    size = crc = 0
    block = memoryview(bytearray(BLOCK))
    with open_through(path) as file:
        while count := file.readinto(block):
            size += count
            crc = zlib.crc32(block[:count], crc)
    return size, crc


def _sealed(document: Mapping[str, Any]) -> str:
    """JSON behind a line with its checksum, as a comment."""
    body = json.dumps(document, indent=1)
    return f"{_seal(body)}\n{body}"


def _seal(body: str) -> str:
    return f"// crc32 {zlib.crc32(body.encode()):08x}"


def _flat(tensors: Tensors, num_classes: int, world: World) -> dict[str, Tensor]:
    flat = {f"replicated/{name}": tensor for name, tensor in tensors.replicated.items()}
    flat |= {f"private/{world.rank}/{name}": tensor for name, tensor in tensors.private.items()}
    mesh = None
    for name, rows in tensors.sharded.items():
        if world.group is None:
            flat[f"sharded/{name}"] = rows
            continue
        mesh = mesh or DeviceMesh.from_group(world.group, rows.device.type)
        shape = torch.Size((num_classes, *rows.shape[1:]))
        stride = torch.empty(shape, device="meta").stride()
        flat[f"sharded/{name}"] = DTensor.from_local(rows, mesh, [Shard(0)], shape=shape, stride=stride)
    return flat


def _check_kind(checkpoint: Path, name: str, tensor: Tensor, saved: object) -> None:
    if not isinstance(saved, TensorStorageMetadata):
        raise CheckpointError(f"{checkpoint} holds no {name}: it was written with another head or optimizer")
    if saved.size != tensor.shape:
        raise CheckpointError(
            f"{checkpoint} holds {name} of shape {tuple(saved.size)}, this run's is {tuple(tensor.shape)}"
        )
    dtype = saved.properties.dtype
    both_float = dtype.is_floating_point and tensor.dtype.is_floating_point
    if dtype != tensor.dtype and not both_float:  # which are converted
        raise CheckpointError(
            f"{checkpoint} holds {name} in {dtype}, this run's is {tensor.dtype}, which means other numbers"
        )


def _check_file(path: Path, size: int, crc: int) -> None:
    try:
        found = path.stat().st_size
        if found != size:
            raise CheckpointError(f"{path} is damaged: it has {found} bytes, {size} were written")
        if checksum(path) != (size, crc):
            raise CheckpointError(f"{path} is damaged: its checksum is not that of the bytes written")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _pointer(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _sync(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warning that one process alone is one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or")
        yield


@contextmanager
def _named(problem: str) -> Iterator[None]:
    """Turn what torch raises for a failed file, which includes a BaseException, into a CheckpointError."""
    try:
        with _quiet():
            yield
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, CheckpointException) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{problem}: {error}") from error
