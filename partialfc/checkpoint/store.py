"""One checkpoint's folder, written and read by all ranks together.

    __0_0.distcp ... .metadata   torch.distributed.checkpoint: every tensor
    state.json                   everything else, and each file's checksum

Reading runs nothing that a file asks for: its metadata is a pickle of which only known types are made.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as load_tensors
from torch.distributed.checkpoint.state_dict_saver import save as save_tensors

from partialfc.checkpoint.reading import InPlaceReader
from partialfc.checkpoint.safe_metadata import SafeReader
from partialfc.checkpoint.state import FORMAT, STATE, read_state, sealed
from partialfc.checkpoint.tensors import Tensors, check_kind, named_views
from partialfc.checkpoint.writing import ChecksumWriter, PiecePlanner, without_torch_checksums
from partialfc.distributed.first_rank import on_first_rank
from partialfc.distributed.world import World
from partialfc.errors import CheckpointError
from partialfc.files import write_whole

# Has a traceback of some twenty lines per failure.
TORCH_LOG = logging.getLogger("c10d-NullHandler-dcp_logger")


def write_checkpoint(
    folder: Path, tensors: Tensors, state: Mapping[str, Any], world: World, *, num_classes: int
) -> None:
    """Collective: fill an empty folder; state.json is written last.

    Raises OSError on every rank where one of them cannot write a file, CheckpointError for what else fails.
    """
    writer = ChecksumWriter(folder)
    failure: Exception | None = None
    try:
        with checkpoint_error(f"{folder} cannot be written"), without_torch_checksums():
            save_tensors(
                named_views(tensors, num_classes, world),
                storage_writer=writer,
                planner=PiecePlanner(),
                process_group=world.group,
                no_dist=world.size == 1,
            )
    except CheckpointError as error:
        failure = error
    checksums = _gather_checksums(writer, world)
    if failure is not None:
        raise failure
    document = {"format": FORMAT, "num_classes": num_classes, **state, "files": checksums}
    on_first_rank(world, lambda: write_whole(folder / STATE, sealed(document)))


def read_checkpoint(
    checkpoint: Path, tensors: Tensors, world: World, *, num_classes: int
) -> tuple[dict[str, Any], Tensors]:
    """Collective: read a checked checkpoint's sharded tensors into those of `tensors`, in place.

    Returns the state, and all tensors: the replicated ones and, at the same world size, the private ones are
    new. Raises CheckpointError for another num_classes, a missing tensor, another shape or kind of number.
    """
    state = read_state(checkpoint)
    if state["num_classes"] != num_classes:
        raise CheckpointError(
            f"{checkpoint} has num_classes {state['num_classes']}, this run has {num_classes}: "
            "a checkpoint resumes only with the classes it was trained on"
        )
    with checkpoint_error(f"{checkpoint} cannot be read"):
        saved = SafeReader(checkpoint).read_metadata().state_dict_metadata
    wanted = named_views(replace(tensors, replicated={}, private={}), num_classes, world)
    for name, tensor in wanted.items():
        check_kind(checkpoint, name, tensor, saved.get(name))
    same_world = state["world_size"] == world.size
    for name, entry in saved.items():
        kind, _, key = name.partition("/")
        mine = kind == "private" and same_world and key.startswith(f"{world.rank}/")
        if (kind == "replicated" or mine) and isinstance(entry, TensorStorageMetadata):
            wanted[name] = torch.empty(entry.size, dtype=entry.properties.dtype)
    with checkpoint_error(f"{checkpoint} cannot be read"):
        load_tensors(
            wanted,
            storage_reader=InPlaceReader(checkpoint),
            process_group=world.group,
            no_dist=world.size == 1,
        )
    private = f"private/{world.rank}/"
    return state, Tensors(
        tensors.sharded,
        {k.removeprefix("replicated/"): v for k, v in wanted.items() if k.startswith("replicated/")},
        {k.removeprefix(private): v for k, v in wanted.items() if k.startswith(private)},
    )


def load_replicated(checkpoint: Path, prefix: str) -> dict[str, Tensor]:
    """On one process alone, the replicated tensors whose name starts with `prefix`, which is cut off."""
    start = f"replicated/{prefix}"
    with checkpoint_error(f"{checkpoint} cannot be read"):
        saved = SafeReader(checkpoint).read_metadata().state_dict_metadata
        wanted = {
            name: torch.empty(entry.size, dtype=entry.properties.dtype)
            for name, entry in saved.items()
            if name.startswith(start) and isinstance(entry, TensorStorageMetadata)
        }
        load_tensors(wanted, storage_reader=InPlaceReader(checkpoint), no_dist=True)
    return {name.removeprefix(start): tensor for name, tensor in wanted.items()}


def _gather_checksums(writer: ChecksumWriter, world: World) -> dict[str, tuple[int, int]]:
    """Every file's size and checksum, from the ranks that wrote them; OSError where one could not."""
    failure = writer.failure
    system = None if failure is None else (failure.errno, failure.strerror, failure.filename)
    merged: dict[str, tuple[int, int]] = {}
    for text in world.gather_texts(json.dumps([writer.checksums, system])):
        checksums, failed = json.loads(text)
        if failed is not None:
            raise OSError(*failed)
        merged |= checksums
    return merged


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warning that one process is alone, and its log of a failure, which is raised anyway."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or")
        before, TORCH_LOG.disabled = TORCH_LOG.disabled, True
        try:
            yield
        finally:
            TORCH_LOG.disabled = before


@contextmanager
def checkpoint_error(problem: str) -> Iterator[None]:
    """Raise what torch raises for a failed file, some of it no Exception, as a CheckpointError."""
    try:
        with _quiet():
            yield
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, CheckpointException) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{problem}: {error}") from error
