"""Where the images of a tar shard lie, and their labels: read once from the shard, then from a file.

A shard is in WebDataset's layout (github.com/webdataset/webdataset): the files of a sample have one name up
to its first dot, such as `cats/3.jpg` and `cats/3.cls`.
"""

import json
import logging
import re
import tarfile
from array import array
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from partialfc.data.images.codec import SUFFIXES
from partialfc.data.sources.byte_files import state_of, streamed
from partialfc.data.sources.index_cache import as_array, load_index, save_index
from partialfc.data.sources.leftovers import leftover_kind
from partialfc.errors import DataError, LabelError

log = logging.getLogger(__name__)

LABEL_KEYS = ("label", "cls", "class")  # of a .json, the first that it has
_SAMPLE = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """Of n samples, in the shard's order: where their images lie, and their labels.

    state: of the shard, by state_of. offsets, sizes [n]: of the images, in bytes. which [n]: places in
    labels. names: the images' names, one after the other; ends [n]: where each ends. skipped: how many
    samples have no image.
    """

    state: str
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    which: NDArray[np.int32]
    labels: list[str]
    names: bytes
    ends: NDArray[np.int64]
    skipped: int


def shard_index(name: str) -> ShardIndex:
    """The index of the shard, a path or URL; DataError where it is damaged or not in the layout.

    It is kept while the shard is the same, by its size and time or what else a URL's server says of it
    (index_cache.py).
    """
    state = state_of(name)
    if (kept := _load(name, state)) is not None:
        return kept
    log.info("%s: reading where its images lie", name)
    with streamed(name) as file:
        index = _read(name, file, state)
    _save(name, index)
    return index


@dataclass(slots=True)
class _Sample:
    image: tuple[str, int, int] | None = None  # name, offset, bytes
    label: str | None = None
    certain: bool = field(default=False)  # the label is that of a .cls


def _read(name: str, file: IO[bytes], state: str) -> ShardIndex:
    samples: dict[str, _Sample] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # which would grow with every file
                if member.isreg() and not leftover_kind(member.name.rpartition("/")[2]):
                    _take(name, samples, member, file)
            file.seek(tar.offset)
            last = file.read(tarfile.BLOCKSIZE)
            if last.strip(b"\0"):
                raise tarfile.ReadError(f"byte {tar.offset} is no header")
            if not last:
                raise DataError(
                    f"{name}: cut short at byte {tar.offset}, where the mark that ends a tar is missing; "
                    f"copy it again, or if it is whole, add the mark: head -c 1024 /dev/zero >> {name}"
                )
    except tarfile.TarError as error:
        raise DataError(
            f"{name}: cut short, damaged or no tar file ({error}); copy it again; a compressed one must be "
            "unpacked first"
        ) from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error}") from error
    return _index_of(name, samples, state=state)


def _take(name: str, samples: dict[str, _Sample], member: tarfile.TarInfo, file: IO[bytes]) -> None:
    parts = _SAMPLE.fullmatch(member.name.removeprefix("./"))
    if parts is None:
        return
    kind = parts[2].lower()
    if f".{kind}" not in SUFFIXES and kind not in ("cls", "json"):
        return
    sample = samples.setdefault(parts[1], _Sample())
    if f".{kind}" in SUFFIXES:
        if sample.image is not None:
            raise DataError(
                f"{name}: sample {parts[1]!r} has two images, {sample.image[0]!r} and {member.name!r}; the "
                "name of a sample is what stands before the first dot"
            )
        sample.image = member.name.removeprefix("./"), member.offset_data, member.size
    elif kind == "cls" or not sample.certain:
        file.seek(member.offset_data)
        text = file.read(member.size)
        found = _label_of_json(name, member.name, text) if kind == "json" else _text(name, member.name, text)
        sample.label = found if found is not None else sample.label
        sample.certain = kind == "cls"


def _text(name: str, member: str, text: bytes) -> str:
    try:
        label = text.decode().strip()
    except UnicodeDecodeError as error:
        raise LabelError(f"{name}: {member} is no UTF-8 text, but must hold a class id or name") from error
    if not label:
        raise LabelError(f"{name}: {member} is empty, but must hold a class id or name")
    return label


def _label_of_json(name: str, member: str, text: bytes) -> str | None:
    try:
        content: Any = json.loads(text)
    except ValueError as error:
        raise LabelError(f"{name}: {member} is no JSON: {error}") from error
    if not isinstance(content, dict):
        return None
    found = next((content[key] for key in LABEL_KEYS if key in content), None)
    if found is None:
        return None
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        raise LabelError(f"{name}: {member} has the label {found!r}, which is no class id or name")
    return str(found)


def _index_of(name: str, samples: dict[str, _Sample], *, state: str) -> ShardIndex:
    offsets, sizes, which, ends = array("q"), array("q"), array("i"), array("q")
    labels: dict[str, int] = {}
    names = bytearray()
    for key, sample in samples.items():
        if sample.image is None:
            continue
        if sample.label is None:
            raise DataError(
                f"{name}: sample {key!r} has no label: its class id or name must be in {key}.cls, or in "
                f"{key}.json under {', '.join(LABEL_KEYS[:-1])} or {LABEL_KEYS[-1]}"
            )
        member, offset, size = sample.image
        offsets.append(offset)
        sizes.append(size)
        which.append(labels.setdefault(sample.label, len(labels)))
        names += member.encode("utf-8", errors="surrogateescape")
        ends.append(len(names))
    if not offsets:
        raise DataError(
            f"{name}: holds no image; the files of a sample have one name up to the first dot, such as "
            f"cats/3.jpg and cats/3.cls, and an image ends in one of {', '.join(SUFFIXES)}"
        )
    return ShardIndex(
        state,
        np.frombuffer(offsets, np.int64),
        np.frombuffer(sizes, np.int64),
        np.frombuffer(which, np.int32),
        [*labels],
        bytes(names),
        np.frombuffer(ends, np.int64),
        len(samples) - len(offsets),
    )


def _save(name: str, index: ShardIndex) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "offsets": index.offsets,
        "sizes": index.sizes,
        "which": index.which,
        "labels": as_array(json.dumps(index.labels).encode()),
        "names": as_array(index.names),
        "ends": index.ends,
        "skipped": np.array(index.skipped),
    }
    save_index(name, index.state, arrays)


def _load(name: str, state: str) -> ShardIndex | None:
    kept = load_index(name, state)
    if kept is None:
        return None
    return ShardIndex(
        state,
        kept["offsets"],
        kept["sizes"],
        kept["which"],
        json.loads(kept["labels"].tobytes()),
        kept["names"].tobytes(),
        kept["ends"],
        int(kept["skipped"]),
    )
