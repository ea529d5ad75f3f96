"""Going through all images of a source: those that decode, and a list of those that do not."""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

from partialfc.data.images.codec import decode
from partialfc.data.parallel.in_order import in_order
from partialfc.data.sources.labelled import Source
from partialfc.errors import DataError, ImageError, RecordIndexError

log = logging.getLogger(__name__)

_PART = 1 << 20  # bytes of images, about, that a worker gives at a time
_MOST = 64  # images, likewise

_Image = tuple[bytes, int, tuple[int, int]]


class CheckedImages:
    """The images of `source` that decode, as an iterator of (encoded image, class id, (height, width)).

    Up to `max_bad` others are left out, each with a warning. Where there are more, the rest is checked too,
    and an ImageError at the end names all; an index that does not fit its `.rec` is an error at once.
    `bad`: what is wrong with each so far, with its name.

    `workers` processes read and decode, and the images come in order; 0 or 1: this one does. `progress` is
    told after each few images how many are done.
    """

    bad: list[str]

    def __init__(
        self,
        source: Source,
        *,
        max_bad: int,
        max_pixels: int,
        workers: int = 0,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        if max_bad < 0:
            raise ValueError(f"max_bad is {max_bad}: it must be 0 (none is left out) or more")
        self._source = source
        self._max_bad = max_bad
        self._look = _Look(source, max_pixels)
        self._workers = workers
        self._progress = progress
        self.bad = []

    def __iter__(self) -> Generator[_Image, None, None]:
        count = len(self._source)
        part = min(_MOST, max(1, _PART // max(1, self._size_of_one())))
        done = 0
        with closing(in_order(self._look, count, part=part, workers=self._workers)) as parts:
            for looked in parts:
                for image in looked:
                    if isinstance(image, str):
                        self.bad.append(image)
                    elif len(self.bad) <= self._max_bad:
                        yield image
                done += len(looked)
                self._progress(done)
        if len(self.bad) > self._max_bad:
            raise ImageError(
                listed(self.bad, len(self._source))
                + f"\nreplace or remove them; or leave them out: --max-bad {len(self.bad)}, which is "
                f"{self._max_bad} now"
            )
        for line in self.bad:
            log.warning("left out: %s", line)

    def _size_of_one(self) -> int:
        """Bytes of an encoded image, to go by."""
        for index in range(min(len(self._source), _MOST)):
            with suppress(DataError):
                return len(self._source.read(index)[0])
        return 1


@dataclass(frozen=True, slots=True)
class _Look:
    """Of each of the images start..stop: (encoded image, class id, (height, width)), or what is wrong."""

    source: Source
    max_pixels: int

    def __call__(self, start: int, stop: int) -> list[_Image | str]:
        return [self._image(index) for index in range(start, stop)]

    def _image(self, index: int) -> _Image | str:
        try:
            data, label = self.source.read(index)
            height, width, _ = decode(data, max_pixels=self.max_pixels).shape
        except RecordIndexError:
            raise
        except DataError as error:
            return named(self.source.name(index), error)
        return data, label, (height, width)


def named(name: str, error: DataError) -> str:
    """The error with the name of its image, once."""
    return str(error) if name in str(error) else f"{name}: {error}"


def listed(bad: Sequence[str], total: int) -> str:
    """How many of the images are bad, and a line for each."""
    return "\n  ".join((f"{len(bad)} of {total} images cannot be used:", *bad))
