"""Where the images lie in a large file, kept in a file so that it is found out once."""

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from partialfc.data.sources.byte_files import is_url
from partialfc.files import replacing

log = logging.getLogger(__name__)

INDEX = ".index.npz"  # behind the file's name
VERSION = 1


def load_index(name: str, state: str) -> dict[str, NDArray[Any]] | None:
    """The arrays that were kept for the file `name`, a path or URL; None where there are none.

    So also where they are damaged, or those of another version of the file: `state` is what
    byte_files.state_of says of it now.
    """
    for path in _places(name):
        try:
            with np.load(path, allow_pickle=False) as kept:
                arrays = {key: kept[key] for key in kept.files}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            continue
        known = arrays.pop("about", np.empty(0, np.uint8)).tobytes()
        if known == _about(state):
            return arrays
    return None


def save_index(name: str, state: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays beside a local file, or where that cannot be written, and for a URL, in the cache folder.

    That is `partialfc` below $XDG_CACHE_HOME or ~/.cache. A warning where nothing can be written.
    """
    for path in _places(name):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as beside, beside.open("wb") as file:
                np.savez(file, about=np.frombuffer(_about(state), np.uint8), **arrays)  # type: ignore[arg-type]
        except OSError as error:
            log.debug("%s: %s", path, error)
        else:
            return
    log.warning("%s: its index can be kept nowhere, so the file is read again at each start", name)


def as_array(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text, np.uint8)


def _about(state: str) -> bytes:
    return f"{VERSION} {state}".encode()


def _places(name: str) -> list[Path]:
    """Where the index may be kept, the first that can be written."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "partialfc"
    full = name if is_url(name) else os.path.abspath(name)
    known_as = hashlib.sha256(full.encode("utf-8", errors="surrogateescape")).hexdigest()[:32]
    cached = folder / f"{known_as}{INDEX}"
    return [cached] if is_url(name) else [Path(name + INDEX), cached]
