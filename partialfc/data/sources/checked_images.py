"""Going through all images of a source: those that decode, and a list of those that do not."""

import logging
from collections.abc import Iterator, Sequence

from partialfc.data.images.codec import decode
from partialfc.data.sources.labelled import Source
from partialfc.errors import DataError, ImageError, RecordIndexError

log = logging.getLogger(__name__)


class CheckedImages:
    """The images of `source` that decode, as an iterator of (encoded image, class id, (height, width)).

    Up to `max_bad` others are left out, each with a warning. Where there are more, the rest is checked too,
    and an ImageError at the end names all; an index that does not fit its `.rec` is an error at once.
    `bad`: what is wrong with each so far, with its name.
    """

    bad: list[str]

    def __init__(self, source: Source, *, max_bad: int, max_pixels: int) -> None:
        if max_bad < 0:
            raise ValueError(f"max_bad is {max_bad}: it must be 0 (none is left out) or more")
        self._source = source
        self._max_bad = max_bad
        self._max_pixels = max_pixels
        self.bad = []

    def __iter__(self) -> Iterator[tuple[bytes, int, tuple[int, int]]]:
        for index in range(len(self._source)):
            try:
                data, label = self._source.read(index)
                height, width, _ = decode(data, max_pixels=self._max_pixels).shape
            except RecordIndexError:
                raise
            except DataError as error:
                self.bad.append(named(self._source.name(index), error))
                continue
            if len(self.bad) <= self._max_bad:
                yield data, label, (height, width)
        if len(self.bad) > self._max_bad:
            raise ImageError(
                listed(self.bad, len(self._source))
                + f"\nreplace or remove them; or leave them out: --max-bad {len(self.bad)}, which is "
                f"{self._max_bad} now"
            )
        for line in self.bad:
            log.warning("left out: %s", line)


def named(name: str, error: DataError) -> str:
    """The error with the name of its image, once."""
    return str(error) if name in str(error) else f"{name}: {error}"


def listed(bad: Sequence[str], total: int) -> str:
    """How many of the images are bad, and a line for each."""
    return "\n  ".join((f"{len(bad)} of {total} images cannot be used:", *bad))
