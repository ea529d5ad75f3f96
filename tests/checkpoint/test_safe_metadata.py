"""Metadata is unpickled, but nothing in it is run."""

import copyreg
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING, TensorProperties

import partialfc
from partialfc.checkpoint import load_replicated
from tests.checkpoint.cases import Evil, save


def test_metadata_that_asks_for_anything_else_is_refused(tmp_path):
    save(str(tmp_path))
    newest = tmp_path / "step-00000001"
    (newest / ".metadata").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(partialfc.CheckpointError, match=r"asks for posix\.system"):
        load_replicated(newest, "backbone/")
    assert not Path("owned").exists()


def saved_with(pickler: type[pickle.Pickler], folder: Path) -> Path:
    """A checkpoint whose metadata another pickler wrote."""
    save(str(folder))
    newest = folder / "step-00000001"
    metadata = pickle.loads((newest / ".metadata").read_bytes())
    with (newest / ".metadata").open("wb") as file:
        pickler(file).dump(metadata)
    return newest


def assert_is_read(checkpoint: Path) -> None:
    loaded = load_replicated(checkpoint, "backbone/")
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {"w": list(range(30)), "n": 7}


class EarlyPickler(pickle.Pickler):
    """Pickles an enum's members as Python 3.11.0 to 3.11.3 do: as a call of getattr."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, _MEM_FORMAT_ENCODING):
            return getattr, (_MEM_FORMAT_ENCODING, value.name)
        return NotImplemented


def test_metadata_written_by_an_early_python_3_11_is_read(tmp_path):
    newest = saved_with(EarlyPickler, tmp_path)
    assert b"getattr" in (newest / ".metadata").read_bytes()
    assert_is_read(newest)


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_metadata_written_by_any_python_is_read(tmp_path, module):
    """Python 3.13 pickles a path by the name of a module of its own; those before and after it do not."""
    save(str(tmp_path))
    newest = tmp_path / "step-00000001"
    metadata = pickle.dumps(pickle.loads((newest / ".metadata").read_bytes()), protocol=2)
    path = re.compile(rb"cpathlib(\._local)?\nPosixPath")
    assert path.search(metadata)
    (newest / ".metadata").write_bytes(path.sub(f"c{module}\nPosixPath".encode(), metadata))
    assert_is_read(newest)


class LaterPickler(pickle.Pickler):
    """Pickles a tensor's properties as a later torch does: with one more, which that is the first to have."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, TensorProperties):
            return copyreg.__newobj__, (TensorProperties,), (*value.__getstate__(), (1,))
        return NotImplemented


def test_metadata_written_by_a_later_torch_is_read(tmp_path):
    newest = saved_with(LaterPickler, tmp_path)
    assert_is_read(newest)


class Attribute:
    def __init__(self, kind: type, name: str) -> None:
        self.wanted = kind, name

    def __reduce__(self) -> Any:
        return getattr, self.wanted


@pytest.mark.parametrize(
    ("kind", "name"), [(TensorProperties, "__init__"), (_MEM_FORMAT_ENCODING, "__class__")]
)
def test_metadata_that_asks_for_another_attribute_is_refused(tmp_path, kind, name):
    save(str(tmp_path))
    newest = tmp_path / "step-00000001"
    (newest / ".metadata").write_bytes(pickle.dumps(Attribute(kind, name)))
    with pytest.raises(partialfc.CheckpointError, match="which no checkpoint of ours holds"):
        load_replicated(newest, "backbone/")
