"""Checkpoints that a stranger wrote or that are damaged: an error of ours, nothing run, no endless read."""

import io
import json
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import Metadata

from partialfc.checkpoint import find_checkpoint, load_replicated
from partialfc.checkpoint.checksums import checksum
from partialfc.checkpoint.state import STATE, sealed
from partialfc.errors import CheckpointError
from tests.checkpoint.cases import Evil, save

W = "replicated/backbone/w"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save(str(tmp_path))
    return tmp_path / "step-00000001"


def load(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_replicated(find_checkpoint(checkpoint), "backbone/")


def seal(checkpoint: Path, **values: Any) -> None:
    """Write state.json anew: with right checksums of what lies there, then with the given values."""
    state = json.loads((checkpoint / STATE).read_text().partition("\n")[2])
    state["files"] = {name: list(checksum(checkpoint / name)) for name in state["files"]}
    (checkpoint / STATE).write_text(sealed(state | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"files": {"/dev/zero": [0, 0]}}, "'/dev/zero', which is no file of its own folder"),
        ({"files": {"../../x": [0, 0]}}, "'../../x', which is no file of its own folder"),
        ({"files": {"..": [0, 0]}}, "no file of its own folder"),
        ({"files": {"pipe": [0, 0]}}, "pipe is damaged: it is not a file"),
        ({"files": {"zeros": [0, 0]}}, "zeros is damaged: it is not a file"),
        ({"files": {".metadata": "xy"}}, "does not give the size and the checksum of .metadata"),
        ({"files": 3}, "does not list its files"),
        ({"format": "1"}, "has format 1; this version"),
        ({"format": None}, "has format None; this version reads 1"),
        ({"num_classes": -1}, "its num_classes is -1"),
        ({"world_size": None}, "its world_size is None"),
    ],
)
def test_a_state_that_lies_is_refused(checkpoint: Path, values: dict[str, Any], message: str) -> None:
    os.mkfifo(checkpoint / "pipe")
    (checkpoint / "zeros").symlink_to("/dev/zero")
    seal(checkpoint, **values)
    with pytest.raises(CheckpointError, match=message):
        load(checkpoint)


@pytest.mark.parametrize("body", ["[" * 100_000, "[1]", "3", "{}", "\ud800"])
def test_a_state_that_is_no_mapping_is_refused(checkpoint: Path, body: str) -> None:
    data = body.encode("utf-8", "surrogatepass")
    (checkpoint / STATE).write_bytes(b"// crc32 %08x\n" % zlib.crc32(data) + data)
    with pytest.raises(CheckpointError, match=r"state\.json"):
        load(checkpoint)


def of_w(**values: object) -> Callable[[Metadata], None]:
    return lambda found: found.state_dict_metadata[W].__dict__.update(values)


def of_places(**values: object) -> Callable[[Metadata], None]:
    def edit(found: Metadata) -> None:
        for place in found.storage_data.values():
            place.__dict__.update(values)

    return edit


def grown(found: Metadata) -> None:
    """A tensor of more rows than there are chunks of: the rest would be whatever lies in memory."""
    found.state_dict_metadata[W].size = torch.Size([10**9])


def moved(found: Metadata) -> None:
    (chunk,) = found.state_dict_metadata[W].chunks
    chunk.offsets = torch.Size([5])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (grown, f"30 of the 1000000000 rows of {W}"),
        (moved, "without a place"),
        (of_w(size="abc"), f"the size of {W}"),
        (of_w(size=(-3,)), f"the size of {W}"),
        (of_w(size=(2.5,)), f"the size of {W}"),
        (of_w(chunks=None), f"the chunks of {W}"),
        (of_w(chunks=[]), "0 of the 30 rows"),
        (of_w(chunks=[3]), f"the chunks of {W}"),
        (of_w(properties=None), f"the type of {W}"),
        (lambda found: found.state_dict_metadata.update({3: 4}), "a tensor's name"),
        (lambda found: found.state_dict_metadata.update({"x": 4}), "the tensor x"),
        (lambda found: setattr(found, "state_dict_metadata", None), "its tensors"),
        (lambda found: setattr(found, "storage_data", None), "its places"),
        (lambda found: setattr(found, "storage_meta", 3), "its storage_meta"),
        (lambda found: found.__dict__.clear(), "no attribute|its tensors|its storage_meta"),
        (of_places(relative_path="../x.distcp"), r"the file name '\.\./x\.distcp'"),
        (of_places(relative_path="/dev/zero"), "the file name '/dev/zero'"),
        (of_places(relative_path=3), "the file name 3"),
        (of_places(offset=-5), "a place in"),
        (of_places(length="long"), "a place in"),
        (of_places(transform_descriptors=["zstd"]), "a transform of"),
        (of_places(length=1 << 60), "cannot be read"),
        (of_places(offset=1 << 60), "cannot be read"),
    ],
)
def test_metadata_that_lies_is_refused(
    checkpoint: Path, edit: Callable[[Metadata], None], message: str
) -> None:
    found = pickle.loads((checkpoint / ".metadata").read_bytes())
    edit(found)
    (checkpoint / ".metadata").write_bytes(pickle.dumps(found))
    seal(checkpoint)
    with pytest.raises(CheckpointError, match=message):
        load(checkpoint)


def saved(value: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        saved(Evil()),
        saved(Evil(), _use_new_zipfile_serialization=False),
        saved({"w": torch.zeros(30), "x": Evil()}),
        saved(torch.nn.Linear(2, 2)),
        saved([1, 2]),
        pickle.dumps(Evil()),
        b"PK\x03\x04" + b"x" * 500,
        b"",
    ],
    ids=["zip", "legacy", "among tensors", "module", "list", "pickle", "damaged zip", "empty"],
)
def test_a_data_file_that_is_no_tensor_is_refused(
    checkpoint: Path, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = pickle.loads((checkpoint / ".metadata").read_bytes())
    of_places(offset=0, length=len(data))(found)
    (checkpoint / ".metadata").write_bytes(pickle.dumps(found))
    for file in checkpoint.glob("*.distcp"):
        file.write_bytes(data)
    seal(checkpoint)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(checkpoint)
    assert not (tmp_path / "owned").exists()


def test_latest_is_only_a_name(checkpoint: Path) -> None:
    """It chooses among the checkpoints that lie beside it, and is never opened as a path."""
    (checkpoint.parent / "latest").write_text("../../../etc")
    assert find_checkpoint(checkpoint.parent) == checkpoint
