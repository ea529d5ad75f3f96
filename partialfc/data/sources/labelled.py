"""What every source of labelled images can do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Source(Protocol):
    """Labelled encoded images with random access; picklable, so that worker processes open their own."""

    num_classes: int

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image, such as a JPEG, and its class id; a file's may be beyond its num_classes."""
        ...

    def name(self, index: int) -> str:
        """For messages: "packed/train.rec record 17" or "images/cats/3.jpg"."""
        ...


@dataclass(frozen=True, slots=True)
class Remark:
    """What a source noticed when it was opened. remedy: what to do about it; empty where nothing must be."""

    says: str
    remedy: str = ""


class Labelled(Source, Protocol):
    """A source of files: it gives class ids without decoding, and each image a key of its own.

    origin: what was opened, for messages: its path. least_classes: one past the largest class id that was
    known at opening, so that a file whose labels go beyond its num_classes can be told at once.
    empty_classes: how many classes without an image were counted then, and warned of. remarks: what else was
    noticed, for the doctor.
    """

    @property
    def origin(self) -> str: ...

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes by id; None where the source has none."""
        ...

    @property
    def least_classes(self) -> int: ...

    @property
    def empty_classes(self) -> int: ...

    @property
    def remarks(self) -> list[Remark]: ...

    def class_id(self, index: int) -> int:
        """The class id of an image, which is not decoded; DataError where it cannot be read."""
        ...

    def class_ids(self) -> NDArray[np.signedinteger]:
        """[n], the class id of each image, none of which is decoded; -1 where a record is damaged."""
        ...

    def key(self, index: int) -> str:
        """The image's name within the source, the same wherever the source is moved: "cats/3.jpg" or "17".

        No other image of the source has it. It holds no tab and no line break (keys.py).
        """
        ...

    def each_key(self) -> Iterator[str]:
        """The key of each image in order, faster than one by one."""
        ...

    def state(self, index: int) -> str:
        """A text that tells the file which an image lies in from another version of it: size and time.

        "" where asking would take a request for each image, as for a list of URLs, and for a file that is
        not there.
        """
        ...
