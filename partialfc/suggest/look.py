"""What is seen of labelled images without going through all: how many, how large, in colour or not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partialfc.data.images.codec import decode
from partialfc.data.images.header import read_size
from partialfc.data.sources.labelled import Labelled, Source
from partialfc.errors import DataError, ImageError

MOST_LABELS = (
    20_000_000  # images whose labels are all read, some seconds in a .rec; of more, the mean is taken
)
MOST_CLASSES = 1_000_000
HEADERS = 256  # images whose size is read
DECODED = 64  # of which so many are decoded, to see whether they are grey
DECODED_PIXELS = 200_000_000  # but no more once they have so many pixels, about three seconds
NEARLY = 12  # levels that red, green and blue of a grey image may differ by, where a JPEG has rounded them


@dataclass(frozen=True, slots=True)
class Look:
    """Labelled images in numbers.

    classes: those that have an image. per_class: (fewest, median, most) images of a class; the mean, three
    times, where not every label was read (`counted`). sides: (smallest, median, largest) geometric mean of
    height and width in pixels, of `headers` images drawn evenly. grey: whether all that were decoded have no
    colour; some_grey: whether any has none. bad: how many of them cannot be decoded, such as the one that
    `bad_name` names.
    """

    images: int
    classes: int
    per_class: tuple[int, int, int]
    counted: bool
    sides: tuple[int, int, int]
    grey: bool
    some_grey: bool
    headers: int
    bad: int = 0
    bad_name: str = ""

    @property
    def side(self) -> int:
        return self.sides[1]


def labels_of(source: Labelled) -> NDArray[np.signedinteger] | None:
    """[n] class ids, -1 of damaged records; None where there are too many to be read for a look."""
    few = len(source) <= MOST_LABELS and source.num_classes <= MOST_CLASSES
    return source.class_ids() if few else None


def look_at(source: Labelled, labels: NDArray[np.signedinteger] | None) -> Look:
    """labels: as of `labels_of`. Raises ImageError where no image that is looked at can be decoded."""
    if labels is None:
        classes = max(source.num_classes - source.empty_classes, 1)
        mean = round(len(source) / classes)
        per_class = mean, mean, mean
    else:
        sizes = np.unique(labels[labels >= 0], return_counts=True)[1]
        if not len(sizes):
            raise DataError(f"{source.origin}: no record can be read; look at it with partialfc data check")
        classes = len(sizes)
        per_class = int(sizes.min()), int(np.median(sizes)), int(sizes.max())
    pictures = _look_at_images(source)
    return Look(len(source), classes, per_class, labels is not None, *pictures)


def _look_at_images(source: Source) -> tuple[tuple[int, int, int], bool, bool, int, int, str]:
    """sides, grey, some_grey, headers, bad, bad_name."""
    chosen = np.unique(np.linspace(0, len(source) - 1, HEADERS).astype(np.int64)).tolist()
    decoded = set(chosen[:: max(1, len(chosen) // DECODED)])
    sides, colourless, bad, pixels = list[float](), list[bool](), list[str](), 0
    for index in chosen:
        try:
            data, _ = source.read(index)
            height, width = read_size(data)
            if index in decoded and pixels < DECODED_PIXELS:
                pixels += height * width
                colourless.append(is_grey(data))
            sides.append((height * width) ** 0.5)
        except DataError:
            bad.append(source.name(index))
    if not colourless:
        raise ImageError(
            f"{source.name(chosen[0])}: cannot be decoded, nor can any other of {len(chosen)} images that "
            "were looked at; partialfc data check tells what is wrong with each"
        )
    low, middle, high = (
        round(value) for value in np.quantile(sides, (0.0, 0.5, 1.0), method="nearest").tolist()
    )
    grey, some_grey = all(colourless), any(colourless)
    return (low, middle, high), grey, some_grey, len(sides), len(bad), next(iter(bad), "")


def is_grey(data: bytes) -> bool:
    """Whether red, green and blue of nearly every pixel of an encoded image are equal. Raises ImageError."""
    pixels = decode(data).astype(np.int16)
    spread = pixels.max(axis=2) - pixels.min(axis=2)
    return bool(np.quantile(spread, 0.99) <= NEARLY)
