"""Reading a distributed checkpoint's metadata without trusting its pickle."""

from collections import OrderedDict
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, ClassVar

import torch
from torch.distributed.checkpoint import filesystem, metadata
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import (
    _MEM_FORMAT_ENCODING,
    Metadata,
    StorageMeta,
    TensorProperties,
)
from torch.serialization import _get_layout

from partialfc.checkpoint.metadata_check import problem_of
from partialfc.errors import CheckpointError
from partialfc.unpickling import load_allowed


def _member(kind: object, name: str) -> _MEM_FORMAT_ENCODING:
    """A member of an enum, which Python 3.11.0 to 3.11.3 (Debian 12's is one) pickle as a call of getattr."""
    if kind is not _MEM_FORMAT_ENCODING or name not in _MEM_FORMAT_ENCODING.__members__:
        raise CheckpointError(f"the pickle asks for {name} of {kind}, which no checkpoint of ours holds")
    return _MEM_FORMAT_ENCODING[name]


class _Properties(TensorProperties):
    """Read from what any torch wrote: a later one has more of them. No tensor of ours needs those."""

    known: ClassVar[int] = len(TensorProperties().__getstate__())  # type: ignore[no-untyped-call]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        super().__setstate__(state[: self.known])  # type: ignore[no-untyped-call]


ALLOWED: dict[tuple[str, str], object] = {
    ("builtins", "getattr"): _member,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch.serialization", "_get_layout"): _get_layout,
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"): filesystem._StorageInfo,
    ("torch.distributed.checkpoint.metadata", "TensorProperties"): _Properties,
}
ALLOWED |= {
    (module, name): path  # where it was written: kept, never opened
    for module in ("pathlib", "pathlib._local")  # the second is Python 3.13's
    for name, path in (("PosixPath", PurePosixPath), ("WindowsPath", PureWindowsPath))
}
ALLOWED |= {
    ("torch.distributed.checkpoint.metadata", name): getattr(metadata, name)
    for name in (
        "Metadata",
        "MetadataIndex",
        "TensorStorageMetadata",
        "ChunkStorageMetadata",
        "StorageMeta",
        "_MEM_FORMAT_ENCODING",
    )
}
ALLOWED |= {("torch", name): dtype for name, dtype in vars(torch).items() if isinstance(dtype, torch.dtype)}


class SafeReader(FileSystemReader):
    """FileSystemReader whose metadata may name only the classes that metadata is made of.

    The tensors themselves are read by torch with weights_only=True.
    """

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        path = self._get_metadata_path(kwargs.get("rank"))
        with self.fs.create_stream(path, "rb") as stream:
            content = stream.read()
        try:
            found: Metadata = load_allowed(content, ALLOWED, error=CheckpointError)
        except CheckpointError as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        if problem := problem_of(found):
            raise CheckpointError(f"{path} is damaged: {problem}")
        found.storage_meta = found.storage_meta or StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found
