"""Whether a checkpoint's metadata holds together: a stranger may have written it.

Its classes are those that it may name (safe_metadata.py), but any of their parts may be of any type, and what
it says may be untrue: a tensor with rows that no file has would be loaded as whatever lies in memory.
"""

from collections.abc import Mapping, Sequence

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from partialfc.checkpoint.state import is_count, is_plain_name


def problem_of(found: object) -> str:
    """What of it cannot be relied on; empty where nothing is."""
    if not isinstance(found, Metadata):
        return f"it holds a {type(found).__name__}"
    try:
        _check(found)
    except _Untrue as error:
        return f"it gives {error}, which no checkpoint of ours does"
    except (AttributeError, TypeError) as error:  # an instance that lacks a part, or has numbers of text
        return f"it holds a part that no checkpoint has: {error}"
    return ""


class _Untrue(Exception):
    """What of the metadata a checkpoint of ours never says."""


def _check(found: Metadata) -> None:
    _require(found.storage_meta is None or isinstance(found.storage_meta, StorageMeta), "its storage_meta")
    _require(isinstance(found.state_dict_metadata, dict), "its tensors")
    _require(isinstance(found.storage_data, dict), "its places")
    for place in found.storage_data.values():
        _require(isinstance(place, _StorageInfo), "a place")
        _require(is_plain_name(place.relative_path), f"the file name {place.relative_path!r}")
        _require(is_count(place.offset) and is_count(place.length), f"a place in {place.relative_path}")
        _require(not place.transform_descriptors, f"a transform of {place.relative_path}")
    for name, entry in found.state_dict_metadata.items():
        _require(isinstance(name, str), "a tensor's name")
        if not isinstance(entry, TensorStorageMetadata):
            raise _Untrue(f"the tensor {name}")
        _check_tensor(name, entry, found.storage_data)


def _check_tensor(
    name: str, entry: TensorStorageMetadata, places: Mapping[MetadataIndex, _StorageInfo]
) -> None:
    """Its chunks are consecutive rows from the first to the last, and each has a place in a file."""
    _require(
        isinstance(entry.properties, TensorProperties) and isinstance(entry.properties.dtype, torch.dtype),
        f"the type of {name}",
    )
    _require(_are_counts(entry.size), f"the size of {name}")
    _require(
        isinstance(entry.chunks, list)
        and all(isinstance(c, ChunkStorageMetadata) for c in entry.chunks)
        and all(_are_counts(c.offsets) and _are_counts(c.sizes) for c in entry.chunks),
        f"the chunks of {name}",
    )
    for chunk in entry.chunks:
        _require(MetadataIndex(name, chunk.offsets) in places, f"a chunk of {name} without a place")
    if not entry.size:
        _require(len(entry.chunks) == 1 and not entry.chunks[0].sizes, f"the chunks of {name}")
        return
    reached = 0
    for chunk in sorted(entry.chunks, key=lambda chunk: (chunk.offsets[0], chunk.sizes[0])):
        whole_rows = not any(chunk.offsets[1:]) and chunk.sizes[1:] == entry.size[1:]
        _require(whole_rows and chunk.offsets[0] == reached, f"the chunks of {name}, which are not its rows")
        reached += chunk.sizes[0]
    _require(reached == entry.size[0], f"{reached} of the {entry.size[0]} rows of {name}")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise _Untrue(what)


def _are_counts(values: object) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and all(map(is_count, values))
