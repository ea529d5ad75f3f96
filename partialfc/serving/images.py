"""The images to embed: any source, with classes or without, and their pixels as training makes them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partialfc.data.images.codec import decode, resize
from partialfc.data.sources.byte_files import expanded, is_pattern, is_url, state_of
from partialfc.data.sources.checked_images import named
from partialfc.data.sources.keys import select
from partialfc.data.sources.labelled import Labelled
from partialfc.data.sources.loose import LooseSource, holds_images, is_image_file, loose_folder
from partialfc.data.sources.selected import Selected
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError, ImageError, RecordIndexError
from partialfc.serving.rows import Pixels


@dataclass(frozen=True, eq=False)
class Images:
    """source: what reads them. classed: whether they have classes. places: the paths that were named."""

    source: Labelled
    classed: bool
    places: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def labels(self) -> npt.NDArray[np.signedinteger]:
        """[n], the class id of each image."""
        return self.source.class_ids()

    def class_name(self, index: int) -> str:
        """The name of an image's class, its id where it has no name; "" for images without classes."""
        if not self.classed:
            return ""
        names, label = self.source.classes, int(self.labels[index])
        return str(label) if names is None or label >= len(names) else names[label]

    def fingerprint(self) -> str:
        """A hash of the files that were named, as they are now, of each image's key, and of its class."""
        digest = hashlib.sha256()
        for place in self.places:
            files = expanded(place)
            states = [state_of(each) for each in files if is_url(each) or Path(each).is_file()]
            digest.update(repr((str(Path(place).absolute()), files, states)).encode(errors="surrogateescape"))
        for key in self.source.each_key():
            digest.update(f"{key}\n".encode(errors="surrogateescape"))
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()


def open_images(
    places: Sequence[str],
    *,
    class_depth: int = 1,
    root: Path | None = None,
    only: Path | None = None,
    leave_out: Path | None = None,
) -> Images:
    """Image files, or a folder with images in it itself: without classes. All else: as `open_source`.

    Raises DataError where they cannot be used, and for both kinds together.
    """
    loose = _loose([str(place) for place in places])
    if loose is None:
        found = open_source(list(places), class_depth=class_depth, root=root, only=only, leave_out=leave_out)
        return Images(found, True, tuple(places))
    if root is not None:
        raise DataError(f"{loose.origin}: root is {root}, but only text lists have one; leave it out")
    if class_depth != 1:
        raise DataError(f"{loose.origin}: has no class folders, so it takes no class_depth; leave it out")
    if only is None and leave_out is None:
        return Images(loose, False, tuple(places))
    return Images(Selected(loose, select(loose, only, leave_out)), False, tuple(places))


def _loose(places: Sequence[str]) -> LooseSource | None:
    files = [place for place in places if not _is_several(place) and is_image_file(place)]
    if not files:
        one = Path(places[0]) if len(places) == 1 and not _is_several(places[0]) else None
        if one is None or not one.is_dir():
            return None
        return loose_folder(one) if holds_images(one) or not any(one.iterdir()) else None
    other = next((place for place in places if place not in files), None)
    if other is not None:
        raise DataError(f"{files[0]} is an image and {other} is none: name images alone, or a source of them")
    missing = next((file for file in files if not Path(file).is_file()), None)
    if missing is not None:
        raise DataError(f"{missing}: does not exist")
    return LooseSource(files, origin=files[0])


def _is_several(place: str) -> bool:
    return is_url(place) or is_pattern(place)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The images start..stop of a source. kept [m]: those that could be decoded, pixels [m, S, S, C].

    bad: the others, each with what is wrong with it. states: of all, as the source gives them.
    """

    start: int
    stop: int
    kept: list[int]
    pixels: Pixels
    bad: list[tuple[int, str]]
    states: list[str]


@dataclass(frozen=True, slots=True)
class Decode:
    """Work for `in_order`: part start..stop, counted from `first` on -> its images, decoded and resized."""

    source: Labelled
    first: int
    image_size: int
    channels: int
    max_pixels: int

    def __call__(self, start: int, stop: int) -> Decoded:
        kept = list[int]()
        bad = list[tuple[int, str]]()
        states = list[str]()
        pixels = np.empty((stop - start, self.image_size, self.image_size, self.channels), np.uint8)
        for index in range(self.first + start, self.first + stop):
            states.append(self.source.state(index))  # before it is read, so that a later change is noticed
            try:
                data, _ = self.source.read(index)
                decoded = decode(data, channels=self.channels, max_pixels=self.max_pixels)
            except RecordIndexError:
                raise
            except DataError as error:
                bad.append((index, named(self.source.name(index), error)))
            else:
                pixels[len(kept)] = resize(decoded, self.image_size)
                kept.append(index)
        return Decoded(self.first + start, self.first + stop, kept, pixels[: len(kept)], bad, states)


def require_good(decoded: Decoded) -> None:
    """ImageError for the first image that could not be decoded."""
    if decoded.bad:
        raise ImageError(
            f"{decoded.bad[0][1]}\nreplace or remove it; or leave such images out, and have a list of them: "
            "--skip-bad FILE"
        )
