"""Image folders."""

from pathlib import Path

import numpy as np

from partialfc.data.images.codec import encode_png


def png(shade: int, size: int = 8) -> bytes:
    return encode_png(np.full((size, size, 3), shade, np.uint8))


def put(folder: Path, *names: str) -> Path:
    """A PNG of its own shade under each name."""
    for shade, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(shade))
    return folder
