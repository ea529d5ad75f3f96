"""Images that are only bytes, and files of pairs to read them from."""

import pickle
from pathlib import Path

import pytest

from partialfc.data.pairs.files import read_pairs
from partialfc.errors import PairsError

A, B, C, D = b"\xff\xd8 a", b"\xff\xd8\x00\n'\\ b", b"\x89PNG\x80 c", b"d\xfe"
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def write(folder: Path, data: bytes, name: str = "pairs.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def refused(folder: Path, data: bytes, match: str) -> None:
    path = write(folder, data)
    with pytest.raises(PairsError, match=match) as caught:
        read_pairs(path)
    assert str(path) in str(caught.value)
