"""What is looked at of each image of a source: its label, its size, and what tells it from others."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from partialfc.data.check.perceptual import is_flat, perceptual_hashes, reduced
from partialfc.data.images.codec import Pixels, decode
from partialfc.data.images.kinds import format_of
from partialfc.data.images.not_shown import is_transparent, is_turned
from partialfc.data.parallel.in_order import in_order
from partialfc.data.sources.labelled import Source
from partialfc.errors import DataError, LabelError, RecordIndexError

PART = 64  # images that a worker looks at a time
GOOD, FLAT, NO_LABEL, BROKEN = range(4)  # states of an image

# Of an image that is not GOOD or FLAT only `state` is meant. A FLAT one, of one colour, has no hash.
ROW = np.dtype(
    [
        ("state", "u1"),
        ("label", "i8"),
        ("height", "i4"),
        ("width", "i4"),
        ("bytes", "u8"),  # a digest of the encoded image
        ("pixels", "u8", 2),  # a digest of the decoded one and its size, so long that equal means the same
        ("hash", "u8"),  # perceptual
        ("turned", "?"),  # by a viewer; see data/images/not_shown.py
        ("transparent", "?"),
    ]
)


@dataclass
class Examined:
    """rows: ROW [n]. why: what is wrong, by index, with those that are BROKEN or have NO_LABEL."""

    rows: NDArray[np.void]
    why: dict[int, str] = field(default_factory=dict)
    formats: Counter[str] = field(default_factory=Counter)


def examine(
    source: Source, *, max_pixels: int, workers: int, progress: Callable[[int], None] = lambda done: None
) -> Examined:
    """Look at every image of `source`; memory is some 60 bytes an image.

    `workers` processes decode, 0 or 1: this one. progress is told how many images are done. An index that
    does not fit its `.rec` is a RecordIndexError.
    """
    found = Examined(np.zeros(len(source), ROW))
    done = 0
    with closing(in_order(Examine(source, max_pixels), len(source), part=PART, workers=workers)) as parts:
        for part in parts:
            found.rows[done : done + len(part.rows)] = part.rows
            found.why |= part.why
            found.formats += part.formats
            done += len(part.rows)
            progress(done)
    return found


@dataclass(frozen=True, slots=True)
class Examine:
    """Looks at the images start..stop of `source`."""

    source: Source
    max_pixels: int

    def __call__(self, start: int, stop: int) -> Examined:
        found = Examined(np.zeros(stop - start, ROW))
        pictures = list[Pixels]()
        hashed = list[int]()
        for place, row in enumerate(found.rows):
            try:
                data, row["label"] = self.source.read(start + place)
                pixels = decode(data, max_pixels=self.max_pixels)
            except RecordIndexError:
                raise
            except (DataError, LabelError) as error:
                row["state"] = NO_LABEL if isinstance(error, LabelError) else BROKEN
                found.why[start + place] = str(error)
                continue
            found.formats[format_of(data)] += 1
            row["height"], row["width"] = pixels.shape[:2]
            row["turned"], row["transparent"] = is_turned(data), is_transparent(data)
            row["bytes"] = _digest(data, 1)
            row["pixels"] = _digest(pixels.tobytes(), 2, salt=np.array(pixels.shape, np.int32).tobytes())
            small = reduced(pixels)
            if is_flat(small):
                row["state"] = FLAT
            else:
                pictures.append(small)
                hashed.append(place)
        if hashed:
            found.rows["hash"][hashed] = perceptual_hashes(np.stack(pictures))
        return found


def _digest(data: bytes, words: int, *, salt: bytes = b"") -> NDArray[np.uint64]:
    """So many words of 64 bits."""
    digest = blake2b(data, digest_size=8 * words, salt=salt).digest()
    return np.frombuffer(digest, np.uint64) if words > 1 else np.frombuffer(digest, np.uint64)[0]
