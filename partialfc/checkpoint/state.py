"""state.json: all that a checkpoint holds besides tensors, after a first line with its checksum, the seal."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partialfc.errors import CheckpointError

FORMAT = 1
STATE = "state.json"


def read_state(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's state. Raises CheckpointError if it is missing, damaged or of another format."""
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


def sealed(document: Mapping[str, Any]) -> str:
    """The text of state.json: the seal, then the document as JSON."""
    body = json.dumps(document, indent=1)
    return f"{_seal(body)}\n{body}"


def _seal(body: str) -> str:
    """The first line: the CRC-32 of all others, in the form of a comment."""
    return f"// crc32 {zlib.crc32(body.encode()):08x}"
