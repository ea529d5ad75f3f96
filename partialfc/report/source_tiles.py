"""Images of a source as tiles, with their keys and classes."""

from partialfc.data.images.codec import decode
from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.sources.labelled import Labelled
from partialfc.errors import DataError, LabelError
from partialfc.report.tiles import Mark, Pixels, Tile


def source_tile(
    source: Labelled,
    index: int,
    *,
    detail: str | None = None,
    mark: Mark = Mark.NONE,
    max_pixels: int = MAX_PIXELS,
) -> Tile:
    """The image at an index of `source`, with its key below it, and `detail`; None: the name of its class.

    An image that cannot be decoded has no pixels.
    """
    pixels, name = _read(source, index, max_pixels)
    return Tile(pixels, source.key(index), name if detail is None else detail, mark)


def class_title(source: Labelled, label: int) -> str:
    """The name of a class, or its id where it has none."""
    names = source.classes
    return names[label] if names and 0 <= label < len(names) else f"class {label}"


def _read(source: Labelled, index: int, max_pixels: int) -> tuple[Pixels | None, str]:
    try:
        data, label = source.read(index)
    except (DataError, LabelError) as error:
        return None, type(error).__name__
    try:
        return decode(data, max_pixels=max_pixels), class_title(source, label)
    except DataError:
        return None, class_title(source, label)
