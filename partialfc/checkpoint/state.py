"""state.json: all that a checkpoint holds besides tensors, after a first line with its checksum, the seal."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from partialfc.errors import CheckpointError
from partialfc.files import json_text

FORMAT = 1
STATE = "state.json"
SEAL = "// crc32 "


def read_state(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's state. Raises CheckpointError if it is missing, damaged or of another format."""
    path = checkpoint / STATE
    try:
        seal, _, body = path.read_text().partition("\n")
        state = json.loads(body)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if seal != _seal(body):
        raise CheckpointError(f"{path} is damaged: its first line is not the checksum of the others")
    format_ = state.get("format") if isinstance(state, dict) else None
    if format_ != FORMAT:
        raise CheckpointError(f"{path} has format {format_}; this version reads {FORMAT}")
    if problem := _problem(state):
        raise CheckpointError(f"{path} is damaged: {problem}")
    return cast(dict[str, Any], state)


def read_seal(checkpoint: Path) -> str:
    """What tells a checkpoint from every other: the checksum in the first line of its state.json.

    Raises CheckpointError where that cannot be read.
    """
    path = checkpoint / STATE
    try:
        with path.open(errors="replace") as file:
            seal = file.readline(len(_seal("")) + 1).strip()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not seal.startswith(SEAL):
        raise CheckpointError(f"{path} is damaged: its first line is not the checksum of the others")
    return seal.removeprefix(SEAL)


def sealed(document: Mapping[str, Any]) -> str:
    """The text of state.json: the seal, then the document as JSON."""
    body = json_text(document, indent=1)
    return f"{_seal(body)}\n{body}"


def _problem(state: Mapping[str, Any]) -> str:
    """What of a state, which a stranger may have written, other parts cannot rely on; empty for nothing."""
    for name in ("num_classes", "world_size"):
        if not is_count(state.get(name)):
            return f"its {name} is {state.get(name)!r}, which is no number of them"
    files = state.get("files")
    if not isinstance(files, dict):
        return "it does not list its files"
    for name, about in files.items():
        if not is_plain_name(name):
            return f"it lists {name!r}, which is no file of its own folder"
        if not (isinstance(about, list) and len(about) == 2 and all(map(is_count, about))):
            return f"it does not give the size and the checksum of {name}"
    return ""


def is_plain_name(name: object) -> bool:
    """Whether it is the name of a file in a folder, and no path that leads out of it."""
    return isinstance(name, str) and name not in ("", ".", "..") and not {"/", "\\", "\0"} & {*name}


def is_count(value: object) -> bool:
    """Whether it is a whole number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _seal(body: str) -> str:
    """The first line: the CRC-32 of all others, in the form of a comment."""
    return f"{SEAL}{zlib.crc32(body.encode()):08x}"
