"""What a file of weights holds, whoever wrote it: read as data, and nothing in it is run."""

import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from partialfc.backbones.weights.safetensors import looks_like_safetensors, parse_safetensors
from partialfc.errors import CheckpointError

RESAVE = "save it anew where the network was made: torch.save(model.state_dict(), 'weights.pt')"
AGAIN = "download it anew, and look at its size"
ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # how files of torch.save start, since and before version 1.6
NOT_WEIGHTS = (  # by how they start: what people find in the place of the file, and what to do
    (
        b"version https://git-lfs",
        "a Git LFS pointer and not the file itself",
        "run git lfs pull where it lies",
    ),
    (b"<", "a web page, such as a login or a warning, and not the file that was to be downloaded", AGAIN),
    (b"{", "a text in JSON, such as a server's error, and not the file that was to be downloaded", AGAIN),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"BZh", "a bzip2 archive", "unpack it"),
    (b"\xfd7zXZ", "an xz archive", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it", RESAVE),
    (b"\x93NUMPY", "an array of NumPy", RESAVE),
    (b"\x12\x01\0\0\0\0\0\0", "MXNet's parameters", "convert them to a state dict of torch"),
)


class StandIn:
    """In the place of an object of any class or function that a file names and that is no tensor."""

    name = ""

    def __new__(cls, *_: object, **__: object) -> "StandIn":
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def is_weight_file(path: Path) -> bool:
    """Whether weights come from a file, and not from the folder of a run or of a checkpoint.

    Raises CheckpointError where there is nothing at the path.
    """
    if not os.path.exists(path):
        raise CheckpointError(
            f"{path}: neither a checkpoint nor a run with checkpoints, nor a file of weights; it does not "
            "exist"
        )
    return not os.path.isdir(path)


def read_weights(path: Path) -> Any:
    """A file's content: tensors in dicts and lists, with a StandIn for whatever else it names.

    Read are files of torch.save and of safetensors. Raises CheckpointError for anything else, which says what
    the file is as far as its first bytes tell.
    """
    if path.suffix == ".onnx":
        raise CheckpointError(
            "it is an .onnx, a graph that is run as it is and not trained further: take the weights that it "
            "was made of, such as InsightFace's backbone.pth, or the run; it may be a teacher, as "
            "objective.teacher_from"
        )
    try:
        with path.open("rb") as file:
            start = file.read(64)
        if looks_like_safetensors(start):
            return parse_safetensors(path.read_bytes())
        if problem := _problem(start):
            raise CheckpointError(problem)
        return _read_torch(path, start)
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror or error}") from error


def _problem(start: bytes) -> str:
    """Why a file that starts so holds no weights; empty where it may."""
    if not start:
        return "the file is empty"
    for begins, what, remedy in NOT_WEIGHTS:
        if start.lstrip().startswith(begins):
            return f"it is {what}: {remedy}"
    if not start.startswith((ZIP, PICKLE)):
        return f"it is no file of torch.save or safetensors: it begins with {start[:12]!r}"
    return ""


def _read_torch(path: Path, start: bytes) -> Any:
    names: list[str] = []
    if start.startswith(ZIP):
        names = _unknown_names(path)
    stand_ins: list[Any] = [(type("StandIn", (StandIn,), {"name": name}), name) for name in names]
    try:
        with safe_globals(stand_ins), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own on pickles of another protocol: the error says it
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch raise errors of a dozen kinds, and so does a lie
        if isinstance(error, pickle.UnpicklingError) and not start.startswith(ZIP):
            raise CheckpointError(f"it holds more than tensors, which is not loaded: {RESAVE}") from error
        raise CheckpointError(f"it cannot be read as tensors, or is damaged: {RESAVE}, or {AGAIN}") from error


def _unknown_names(path: Path) -> list[str]:
    """What a zip file of torch.save names besides tensors and plain values."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = {name.rpartition("/")[2] for name in archive.namelist()}
        if "constants.pkl" in inside:
            raise CheckpointError(f"it is a program of torch.jit.save, which is not run: {RESAVE}")
        if "data.pkl" not in inside:
            raise CheckpointError("it is a zip archive without a state dict: unpack it")
        return get_unsafe_globals_in_checkpoint(path)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"it cannot be read as tensors, or is damaged: {RESAVE}, or {AGAIN}") from error
