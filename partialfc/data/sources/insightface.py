"""InsightFace's use of RecordIO: `train.rec`, `train.idx` and `property`.

Record 0 holds no image and the label `[first class record, one past the last]`; images are 1.., grouped by
class; then one record without image per class, with the label `[first, one past the last image]`. `property`
beside them reads `num_classes,height,width`. A `.rec` without such a record 0 (im2rec) is images only.

Labels are float32, exact up to 2**24. From there on `write_source` also puts the class id into the header's
`id2`, which other readers ignore, and this one requires.
"""

import contextlib
import logging
import re
from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partialfc.data.sources.class_names import CLASS_NAMES, names_beside, names_of_classes
from partialfc.data.sources.labelled import Remark
from partialfc.data.sources.labels import MOST_CLASSES, class_id, require_identities
from partialfc.data.sources.layout import class_sizes, count_empty_classes, find_layout, lacks_image
from partialfc.data.sources.leftovers import leftover_kind
from partialfc.data.sources.record_reader import RecordReader
from partialfc.data.sources.recordio import EXACT, Header, RecordWriter, pack, unpack
from partialfc.data.sources.recordio_index import STALE
from partialfc.data.sources.runs import runs
from partialfc.errors import DataError, LabelError, RecordError, RecordIndexError
from partialfc.files import replacing

log = logging.getLogger(__name__)

_PROPERTY = re.compile(r"(\d{1,18})\s*,\s*\d{1,18}\s*,\s*\d{1,18}", re.ASCII)
_FEW = 1_000_000  # so many labels are read in seconds
_SAMPLE = 64  # labels that are looked at to find out whether they are class ids


class RecordSource:
    """The labelled images of a `.rec` file.

    `num_classes` is what `property` beside the file says, else the larger of the number of class records and
    one past the largest known label: the last image's, as images are grouped by class; without class records
    every label is read, one page of the file each, which takes minutes for tens of millions. Labels may be
    larger than `num_classes` allows, where `property` says too little; `least_classes` is one past the
    largest known one. Classes without an image, of those that `property`, class records or known labels speak
    of, are counted in a warning, but not where that would take a pass over more than a million labels.

    Raises RecordError and RecordIndexError as RecordReader does, and LabelError where labels are vectors that
    hold no class ids.
    """

    num_classes: int
    least_classes: int
    empty_classes: int  # that were counted

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader = RecordReader(self.path)
        self._layout = find_layout(self._reader)
        if len(self) == 0:
            raise RecordError(f"{self.path}: holds no image record")
        require_identities(self.path, self._sample_labels())
        listed = read_property(self.path.with_name("property"))
        self.empty_classes = 0
        class_records = self._layout.class_records
        filled = None
        if class_records:
            filled = class_records - count_empty_classes(self._reader, self._layout)
            self.least_classes = 1 + max(self._class_ids([len(self) - 1]), default=0)
        elif listed is None or len(self) <= _FEW:
            log.info("%s: no class records, reading %d labels", self.path, len(self))
            ids = set(self._class_ids(range(len(self))))
            filled, self.least_classes = len(ids), 1 + max(ids, default=0)
        else:
            self.least_classes = 1
        self.num_classes = listed or max(class_records, self.least_classes)
        if filled is not None:
            needed = max(self.num_classes, class_records, self.least_classes)
            self.empty_classes = needed - filled
            warn_of_empty_classes(self.origin, self.empty_classes, needed)

    def __len__(self) -> int:
        return self._layout.stop - self._layout.start

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "classes"}

    @property
    def origin(self) -> str:
        return str(self.path)

    @cached_property
    def classes(self) -> list[str] | None:
        """The class names by id, of a `classes.txt` beside the file that has as many lines as classes."""
        return names_of_classes(self.path, self.num_classes)

    @property
    def remarks(self) -> list[Remark]:
        """Whether classes of a packed folder, by `classes.txt`, are leftovers, which old versions packed."""
        leftovers = [name for name in names_beside(self.path) if any(map(leftover_kind, name.split("/")))]
        if not leftovers:
            return []
        return [
            Remark(
                f"by {self.path.with_name(CLASS_NAMES)}, {len(leftovers)} of the classes are leftovers such "
                f"as {leftovers[0]!r}",
                "pack the images again into another folder (partialfc data pack, which skips them); train in "
                "another run.dir",
            )
        ]

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image and its class id; LabelError where the label is none."""
        key = self._key(index)
        try:
            header, image = unpack(self._reader.view(key))
        except RecordError as error:
            raise self._named(error, index) from error
        if not image:
            self._require_index_fits(header, index)
            raise RecordError(f"{self.name(index)}: holds no image")
        return bytes(image), class_id(header, self.name(index))

    def class_id(self, index: int) -> int:
        """The class id of an image, which is not read; LabelError where the label is none."""
        return class_id(self.header(index), self.name(index))

    def class_ids(self) -> npt.NDArray[np.signedinteger]:
        """[n], the class id of each image, none of which is read; -1 where a record is damaged.

        With class records some labels of each class are read, as its images lie together, else every label.
        LabelError where a label that is read is no class id.
        """
        log.info("%s: reading the labels of %d images", self.path, len(self))
        sizes = class_sizes(self._reader, self._layout)
        small = max(self.num_classes, self.least_classes) <= 1 << 31
        ids: npt.NDArray[np.signedinteger] = np.empty(len(self), np.int32 if small else np.int64)
        for start, stop, label in runs(self._class_id_or_damaged, len(self), sizes[sizes > 0]):
            ids[start:stop] = label
        return ids

    def header(self, index: int) -> Header:
        """What the record says of its image, which is not read."""
        try:
            header, image = self._reader.header(self._key(index))
        except RecordError as error:
            raise self._named(error, index) from error
        if not image:
            self._require_index_fits(header, index)
        return header

    def name(self, index: int) -> str:
        """For messages: the file and the record's key."""
        return f"{self.path} record {self._key(index)}"

    def key(self, index: int) -> str:
        """The record's key."""
        return str(self._key(index))

    def each_key(self) -> Iterator[str]:
        """The key of each image in order."""
        for start in range(self._layout.start, self._layout.stop, _FEW):
            yield from map(str, self._reader.keys[start : min(start + _FEW, self._layout.stop)].tolist())

    def state(self, index: int) -> str:
        """Of the .rec and its .idx."""
        self._key(index)  # checks the index
        return self._reader.state

    def _require_index_fits(self, header: Header, index: int) -> None:
        """RecordIndexError, which is not skipped, where a record without image may be a class record."""
        if self._layout.has_record_0 and not self._reader.scanned and lacks_image(header, False):
            raise RecordIndexError(
                f"{self.path.with_suffix('.idx')}: record {self._key(index)} is among the images and has no "
                f"image; {STALE}"
            )

    def _named(self, error: RecordError, index: int) -> RecordError:
        return error if str(self.path) in str(error) else RecordError(f"{self.name(index)}: {error}")

    def _key(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {self.path}: it has {len(self)} images")
        return self._reader.keys[self._layout.start + index]

    def _class_id_or_damaged(self, index: int) -> int:
        try:
            return self.class_id(index)
        except RecordError:
            return -1

    def _class_ids(self, indices: Iterable[int]) -> Iterator[int]:
        """Those that can be read: a damaged record is an error when its image is, and may be skipped."""
        for index in indices:
            with contextlib.suppress(RecordError):
                yield self.class_id(index)

    def _sample_labels(self) -> list[tuple[float, ...]]:
        """The labels of some records, evenly over the file."""
        labels = []
        for index in np.unique(np.linspace(0, len(self) - 1, _SAMPLE).astype(np.int64)).tolist():
            with contextlib.suppress(RecordError):
                labels.append(self.header(index).label)
        return labels


def warn_of_empty_classes(origin: str, empty: int, num_classes: int) -> None:
    """Log how many of the classes have no image, if any."""
    if empty:
        log.warning("%s: %d of %d classes have no image", origin, empty, num_classes)


def write_source(
    path: str | Path,
    samples: Iterable[tuple[bytes, int]],
    *,
    num_classes: int | None,
    image_size: tuple[int, int],
) -> int:
    """Write `path` (.rec), its .idx and `property` in InsightFace's layout; returns the number of images.

    `samples` are (encoded image, class id) in ascending order of id, taken one by one; ids may be missing.
    `num_classes` None: one past the largest id.
    `image_size` is (height, width), for `property` only. Everything is written beside and renamed at the end.
    `property` belongs to all .rec files of its folder: DataError where another one has another num_classes.
    """
    path = Path(path)
    if (num_classes is not None and num_classes < 1) or min(image_size) < 1:
        raise ValueError(f"num_classes {num_classes} and image_size {image_size}: must be at least 1")
    listing = path.with_name("property")
    if num_classes is not None:
        _require_own_property(listing, path, num_classes)
    with replacing(listing) as beside, RecordWriter(path) as writer:
        count, found = _write_records(writer, samples, num_classes)
        _require_own_property(listing, path, found)
        beside.write_text(f"{found},{image_size[0]},{image_size[1]}\n")
    return count


def _require_own_property(listing: Path, path: Path, num_classes: int) -> None:
    found = (other.name for other in path.parent.glob("*.rec"))
    others = [name for name in found if name != path.name and not leftover_kind(name)]
    if others and read_property(listing) not in (None, num_classes):
        raise DataError(
            f"{listing}: belongs to {others[0]} and gives another num_classes than {num_classes}; "
            "write to a folder of its own"
        )


def _write_records(
    writer: RecordWriter, samples: Iterable[tuple[bytes, int]], num_classes: int | None
) -> tuple[int, int]:
    """Record 0, the images, the class records; returns the number of images, and of classes."""
    starts = array("q")  # by class: its first image, or that of the next class that has one
    count, last = 0, 0
    header = writer.write(0, pack(Header(2, (0, 0)), b""))
    for image, label in samples:
        if label < 0 or (num_classes is not None and label >= num_classes):
            limit = "" if num_classes is None else f"{num_classes - 1}"
            raise LabelError(
                f"label {label} at sample {count}: num_classes is {num_classes}, so labels must be 0..{limit}"
            )
        if label < last:
            raise ValueError(f"label {label} at sample {count} follows {last}: labels must ascend")
        if not image:
            raise DataError(f"sample {count} with label {label}: the image is empty")
        starts.extend([count + 1] * (label + 1 - len(starts)))
        count, last = count + 1, label
        writer.write(count, pack(Header(0, (label,), count, label if label >= EXACT else 0), image))
    if count == 0:
        raise DataError(f"{writer.path}: there are no samples to write")

    classes = last + 1 if num_classes is None else num_classes
    first = count + 1
    starts.extend([first] * (classes + 1 - len(starts)))
    for label in range(classes):
        span = float(starts[label]), float(starts[label + 1])
        writer.write(first + label, pack(Header(2, span, first + label), b""))
    writer.overwrite(header, pack(Header(2, (first, first + classes)), b""))
    return count, classes


def read_property(path: Path) -> int | None:
    """num_classes from `num_classes,height,width`; None where there is no such file.

    InsightFace's newer builder writes a second line, the number of records, which is not needed. Blank lines
    and a byte order mark before the first one are what an editor may leave.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace").strip().partition("\n")[0].strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    match = _PROPERTY.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= MOST_CLASSES:
        raise DataError(
            f"{path}: its first line {text[:80]!r} is not `num_classes,height,width`, three whole numbers, "
            "the first from 1 to 2**53; write it so, or delete the file to have the classes counted"
        )
    return int(match[1])
