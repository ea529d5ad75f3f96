"""Files in the place of weights: what they are is said, and nothing in them is run."""

import gzip
import io
import json
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from partialfc.backbones.weights.files import StandIn, read_weights
from partialfc.errors import CheckpointError


def saved(value: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def scripted() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), file)
    return file.getvalue()


def refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert "weights_only" not in text
    assert "add_safe_globals" not in text
    return text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\n<!DOCTYPE html><html>", "a web page, such as a login"),
        (b'<?xml version="1.0"?><Error>', "a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
            "Git LFS pointer.*git lfs pull",
        ),
        (b'{"error": "quota"}', "a text in JSON, such as a server's error"),
        (gzip.compress(b"x", mtime=0), "a gzip archive: unpack it"),
        (zipped(a=b"x"), "a zip archive without a state dict: unpack it"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x93NUMPY\x01\x00", "an array of NumPy"),
        (b"\x12\x01" + bytes(40), "MXNet's parameters"),
        (b"some text", "begins with b'some text'"),
        (saved({"a": torch.zeros(100)})[:-200], "cannot be read as tensors, or is damaged.*download it anew"),
        (saved({"a": torch.zeros(9)}, _use_new_zipfile_serialization=False)[:60], "cannot be read|more than"),
        (pickle.dumps({"a": 1}), "cannot be read as tensors|more than tensors"),
        (saved({"a": 1}, pickle_protocol=4), "cannot be read as tensors, or is damaged"),
    ],
)
def test_what_lies_in_the_place_of_the_file_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    assert re.search(message, refused(tmp_path / "x.pt", data))


@pytest.mark.filterwarnings("ignore:.torch.jit")  # that it is deprecated
def test_a_program_of_torch_jit_is_not_run(tmp_path: Path) -> None:
    assert "a program of torch.jit.save, which is not run" in refused(tmp_path / "x.pt", scripted())


def test_a_file_that_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        read_weights(tmp_path / "x.pt")


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("owned",)


class Module:
    def __reduce__(self) -> Any:
        return eval, ("__import__('os').mkdir('owned')",)


@pytest.mark.parametrize("payload", [Evil(), Module()], ids=["os", "builtins"])
@pytest.mark.parametrize("new", [True, False])
def test_nothing_is_run(tmp_path: Path, payload: object, new: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for content in (payload, {"a": torch.zeros(2), "b": payload}):
        torch.save(content, "x.pt", _use_new_zipfile_serialization=new)
        try:
            found = read_weights(Path("x.pt"))
        except CheckpointError:
            continue
        assert isinstance(found if content is payload else found["b"], StandIn)
    assert not Path("owned").exists()


def test_a_stand_in_is_not_left_behind(tmp_path: Path) -> None:
    """Torch's list of what may be loaded is the process's own."""
    before = set(torch.serialization.get_safe_globals())
    torch.save({"a": Module()}, tmp_path / "x.pt")
    read_weights(tmp_path / "x.pt")
    assert set(torch.serialization.get_safe_globals()) == before


def safetensors(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_safetensors_are_read(tmp_path: Path) -> None:
    a, b = torch.arange(6.0).view(2, 3), torch.tensor([1.5, -2.0]).bfloat16()
    n, empty = torch.tensor(7), torch.zeros(0, 3)
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor, code in (("a", a, "F32"), ("b", b, "BF16"), ("n", n, "I64"), ("e", empty, "F64")):
        tensor = tensor.double() if code == "F64" else tensor
        raw = bytes(tensor.reshape(-1).contiguous().view(torch.uint8).tolist()) if tensor.numel() else b""
        header[name] = {
            "dtype": code,
            "shape": list(tensor.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    (tmp_path / "x.safetensors").write_bytes(safetensors(header, body))
    found = read_weights(tmp_path / "x.safetensors")
    assert found.keys() == {"a", "b", "n", "e"}
    for name, tensor in (("a", a), ("b", b), ("n", n), ("e", empty.double())):
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def about(**values: object) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | values}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (safetensors(about(), b"1234567"), "too little"),
        (safetensors(about(shape=[3]), b"12345678"), "too little"),
        (safetensors(about(shape=[-2, -1]), b"12345678"), "too little"),
        (safetensors(about(shape=[2.0]), b"12345678"), "too little"),
        (safetensors(about(data_offsets=[-8, 0]), b"12345678"), "too little"),
        (safetensors(about(data_offsets=[0, 1 << 62], shape=[1 << 60]), b"12345678"), "too little"),
        (safetensors(about(data_offsets="08"), b"12345678"), "too little"),
        (safetensors({"a": 3}), "too little"),
        (safetensors(about(dtype="F8_E4M3"), b"12345678"), "of type F8_E4M3; read are BOOL"),
        (safetensors(b"{" + b"[" * 100_000), "its header cannot be read"),
        (safetensors(b"{}")[:9], "its header cannot be read"),
        ((1 << 20).to_bytes(8, "little") + b"{}", "its header cannot be read"),
    ],
)
def test_safetensors_that_lie_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    assert message in refused(tmp_path / "x.safetensors", data)
