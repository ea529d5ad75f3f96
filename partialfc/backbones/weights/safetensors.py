"""Files in the safetensors format: the length of a header, the header in JSON, the tensors' bytes.

https://huggingface.co/docs/safetensors has the format. Nothing in such a file can be run.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from partialfc.errors import CheckpointError

METADATA = "__metadata__"  # the key of what a file says of itself
LARGEST_HEADER = 100_000_000  # bytes, the format's own bound
DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


def looks_like_safetensors(start: bytes) -> bool:
    """Whether a file that starts so, with nine bytes or more, can be one."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LARGEST_HEADER


def parse_safetensors(data: bytes) -> dict[str, Tensor]:
    """A file's content -> its tensors by name. Raises CheckpointError where it is damaged."""
    header, end = _header(data)
    body = memoryview(data)[end:]
    return {name: _tensor(name, about, body) for name, about in header.items() if name != METADATA}


def read_metadata(path: Path) -> dict[str, str]:
    """What a file in the format says of itself, by keys; empty for a file in another one.

    Raises CheckpointError where its header is damaged, OSError where it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(9)
        if not looks_like_safetensors(start):
            return {}
        header, _ = _header(start + file.read(int.from_bytes(start[:8], "little") - 1))
    found = header.get(METADATA)
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The header of a file's content, and where it ends."""
    end = 8 + int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8:end]) if end <= len(data) else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise CheckpointError("a damaged or truncated safetensors file: its header cannot be read")
    return header, end


def _tensor(name: str, about: Any, body: memoryview) -> Tensor:
    match about:
        case {
            "dtype": str() as code,
            "shape": list() as shape,
            "data_offsets": [int() as start, int() as stop],
        }:
            if code not in DTYPES:
                raise CheckpointError(f"its tensor {name} is of type {code}; read are {', '.join(DTYPES)}")
            dtype = DTYPES[code]
            counts = all(isinstance(size, int) and size >= 0 for size in shape)
            if counts and 0 <= start <= stop <= len(body):
                elements, rest = divmod(stop - start, dtype.itemsize)
                if rest == 0 and elements == math.prod(shape):
                    flat = torch.frombuffer(bytearray(body[start:stop]), dtype=dtype) if elements else None
                    return torch.empty(shape, dtype=dtype) if flat is None else flat.view(shape)
    raise CheckpointError(f"a damaged or truncated safetensors file: of its tensor {name} it has too little")
