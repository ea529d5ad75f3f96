"""Whether a checkpoint's files are as they were written."""

import errno
import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any

from partialfc.checkpoint.reading import open_sequential
from partialfc.checkpoint.state import read_state
from partialfc.distributed.world import World
from partialfc.errors import CheckpointError

BLOCK = 1 << 20  # bytes read at a time, still in the cache when their checksum is taken


def check_checkpoint(checkpoint: Path, world: World) -> dict[str, Any]:
    """Collective: check every file's size and checksum, each rank some of the files; returns the state.

    Raises CheckpointError, on every rank, where a file is missing or not as it was written; PermissionError
    where it must not be read, which is no damage: nobody should go on from an older checkpoint because of it.
    """
    problem, forbidden, state = "", "", {}
    try:
        state = read_state(checkpoint)
        for index, (name, (size, checksum)) in enumerate(sorted(state["files"].items())):
            if index % world.size == world.rank:
                _check_file(checkpoint / name, size, checksum)
    except CheckpointError as error:
        problem = str(error)
        if isinstance(error.__cause__, PermissionError):
            forbidden = os.fsdecode(error.__cause__.filename)
    found = [json.loads(text) for text in world.gather_texts(json.dumps([problem, forbidden]))]
    for rank, (text, name) in enumerate(found):
        if name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        if text:
            raise CheckpointError(text if rank == world.rank else f"{text} (found by rank {rank})")
    return state


def checksum(path: Path) -> tuple[int, int]:
    """A file's size in bytes and CRC-32."""
    size = crc = 0
    block = memoryview(bytearray(BLOCK))
    with open_sequential(path) as file:
        while count := file.readinto(block):
            size += count
            crc = zlib.crc32(block[:count], crc)
    return size, crc


def _check_file(path: Path, size: int, crc: int) -> None:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # reading a pipe or a device might never end
            raise CheckpointError(f"{path} is damaged: it is not a file")
        found = about.st_size
        if found != size:
            raise CheckpointError(f"{path} is damaged: it has {found} bytes, {size} were written")
        if checksum(path) != (size, crc):
            raise CheckpointError(f"{path} is damaged: its checksum is not that of the bytes written")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
