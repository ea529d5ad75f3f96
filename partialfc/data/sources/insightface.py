"""InsightFace's use of RecordIO: `train.rec`, `train.idx` and `property`.

Record 0 holds no image and the label `[first class record, one past the last]`; images are 1.., grouped by
class; then one record without image per class, with the label `[first, one past the last image]`. `property`
beside them reads `num_classes,height,width`. A `.rec` without such a record 0 (im2rec) is images only.

Labels are float32, exact up to 2**24. From there on `write_source` also puts the class id into the header's
`id2`, which other readers ignore, and this one requires.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from partialfc.data.sources.recordio import Header, RecordReader, RecordWriter, pack, unpack
from partialfc.errors import DataError, LabelError, RecordError
from partialfc.files import replacing

log = logging.getLogger(__name__)

_EXACT = 1 << 24  # float32 holds every whole number below


class RecordSource:
    """The labelled images of a `.rec` file.

    `num_classes` is what `property` beside the file says, else the number of class records, else one past the
    largest label. To find that, every record's header is read: one page of the file each, which takes minutes
    for tens of millions.
    """

    num_classes: int

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader = RecordReader(self.path)
        keys = self._reader.keys
        classes = 0
        end = self._first_class_record()
        if end is None:
            self._start, self._stop = 0, len(keys)
        else:
            self._start, self._stop = (int(at) for at in np.searchsorted(keys, [1, end]))
            classes = len(keys) - self._stop
            if len(self) < end - 1:
                log.warning("%s: record 0 promises %d images, the index lists %d", path, end - 1, len(self))
        if len(self) == 0:
            raise RecordError(f"{self.path}: holds no image record")
        listed = _read_property(self.path.with_name("property"))
        self.num_classes = listed or classes or self._scan_labels()

    def __len__(self) -> int:
        return self._stop - self._start

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image and its class id; LabelError where the id is not in 0..num_classes-1."""
        header, image = self._unpack(self._key(index))
        if not image:
            raise RecordError(f"{self.path} record {self._key(index)}: holds no image")
        label = self._class_id(header, index)
        if label >= self.num_classes:
            raise LabelError(
                f"label {label} in {self.path} record {self._key(index)}: num_classes is {self.num_classes}, "
                f"so labels must be 0..{self.num_classes - 1}"
            )
        return bytes(image), label

    def name(self, index: int) -> str:
        return f"{self.path.name} record {self._key(index)}"

    def _key(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {self.path}: it has {len(self)} images")
        return int(self._reader.keys[self._start + index])

    def _unpack(self, key: int) -> tuple[Header, memoryview]:
        payload = self._reader.view(key)
        try:
            return unpack(payload)
        except RecordError as error:
            raise RecordError(f"{self.path} record {key}: {error}") from error

    def _class_id(self, header: Header, index: int) -> int:
        """The whole number in label[0], exact."""
        label = header.label[0]
        if 0 <= label < _EXACT and label.is_integer():
            return int(label)
        place = f"label {label:g} in {self.path} record {self._key(index)}"
        if not label.is_integer():
            raise LabelError(f"{place}: a class id must be a whole number")
        if label < 0:
            raise LabelError(f"{place}: a class id must not be negative")
        if np.float32(header.id2) != label:
            raise LabelError(
                f"{place}: float32 cannot tell class ids apart from 2**24 on, and the header's id2 "
                f"({header.id2}) does not hold the exact one; write the file with partialfc, which does"
            )
        return header.id2

    def _first_class_record(self) -> int | None:
        """One past the last image key, from record 0; None where record 0 is an image like the others."""
        keys = self._reader.keys
        if keys[0] != 0:
            return None
        header, image = self._unpack(0)
        if header.flag != 2 or image:
            return None
        first, after = header.label
        if not (first.is_integer() and after.is_integer() and 1 <= first <= after):
            raise RecordError(
                f"{self.path} record 0: label [{first:g}, {after:g}] must be whole, 1 <= first <= last"
            )
        if first < _EXACT:
            return int(first)
        # The number was rounded to float32: the true one is the first record near it that has no image.
        spacing = int(np.spacing(np.float32(first)))
        low, high = np.searchsorted(keys, [first - spacing, first + spacing], side="right")
        for key in keys[low:high].tolist():
            if not self._unpack(key)[1]:
                return int(key)
        if high == len(keys):
            return int(keys[-1]) + 1
        raise RecordError(f"{self.path} record 0: label {first:g}: no class record lies near it")

    def _scan_labels(self) -> int:
        log.info("%s: neither `property` nor class records, scanning %d labels", self.path, len(self))
        return 1 + max(self._class_id(self._unpack(self._key(i))[0], i) for i in range(len(self)))


def write_source(
    path: str | Path, samples: Iterable[tuple[bytes, int]], *, num_classes: int, image_size: tuple[int, int]
) -> int:
    """Write `path` (.rec), its .idx and `property` in InsightFace's layout; returns the number of images.

    `samples` are (encoded image, class id) in ascending order of id, taken one by one; ids may be missing.
    `image_size` is (height, width), for `property` only. Everything is written beside and renamed at the end.
    `property` belongs to all .rec files of its folder: DataError where another one has another num_classes.
    """
    path = Path(path)
    if num_classes < 1 or min(image_size) < 1:
        raise ValueError(f"num_classes {num_classes} and image_size {image_size}: must be at least 1")
    listing = path.with_name("property")
    others = [other.name for other in path.parent.glob("*.rec") if other.name != path.name]
    if others and _read_property(listing) not in (None, num_classes):
        raise DataError(
            f"{listing}: belongs to {others[0]} and gives another num_classes than {num_classes}; "
            "write to a folder of its own"
        )

    with replacing(listing) as beside, RecordWriter(path) as writer:
        count = _write_records(writer, samples, num_classes)
        beside.write_text(f"{num_classes},{image_size[0]},{image_size[1]}\n")
    return count


def _write_records(writer: RecordWriter, samples: Iterable[tuple[bytes, int]], num_classes: int) -> int:
    """Record 0, the images, the class records; returns the number of images."""
    ends = np.ones(num_classes + 1, np.int64)  # at c + 1: one past the last image of class c
    count, last = 0, 0
    header = writer.write(0, pack(Header(2, (0, 0)), b""))
    for image, label in samples:
        if not 0 <= label < num_classes:
            raise LabelError(
                f"label {label} at sample {count}: num_classes is {num_classes}, "
                f"so labels must be 0..{num_classes - 1}"
            )
        if label < last:
            raise ValueError(f"label {label} at sample {count} follows {last}: labels must ascend")
        if not image:
            raise DataError(f"sample {count} with label {label}: the image is empty")
        count, last = count + 1, label
        ends[label + 1] = count + 1
        writer.write(count, pack(Header(0, (label,), count, label if label >= _EXACT else 0), image))
    if count == 0:
        raise DataError(f"{writer.path}: there are no samples to write")

    np.maximum.accumulate(ends, out=ends)  # a class without images starts and ends where the one before ended
    first = count + 1
    for label in range(num_classes):
        span = float(ends[label]), float(ends[label + 1])
        writer.write(first + label, pack(Header(2, span, first + label), b""))
    writer.overwrite(header, pack(Header(2, (first, first + num_classes)), b""))
    return count


def _read_property(path: Path) -> int | None:
    """num_classes from `num_classes,height,width`; None where there is no such file."""
    if not path.exists():
        return None
    text = path.read_text(errors="replace").strip()
    fields = text.split(",")
    if len(fields) != 3 or not all(field.strip().isdecimal() for field in fields) or int(fields[0]) < 1:
        raise DataError(f"{path}: {text[:80]!r} is not `num_classes,height,width`, three whole numbers")
    return int(fields[0])
