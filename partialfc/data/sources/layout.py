"""Which records of a `.rec` are images: InsightFace's record 0, and its class records behind the images.

Record 0 has no image and the label `[first class record, one past the last]`, or, as other tools write it,
`[one past the last image, number of classes]`. Its key is 0; in the file it comes first or, from
InsightFace's own builders, last (RecBuilder) or between the images and the class records (face2rec2). Class
records have no image either, and the label `[first, one past the last image]`.
"""

import contextlib
import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from partialfc.data.sources.record_reader import RecordReader
from partialfc.data.sources.recordio import EXACT, MAGIC, Header
from partialfc.data.sources.recordio_index import STALE
from partialfc.errors import RecordError, RecordIndexError

log = logging.getLogger(__name__)

_MOST = 1 << 62
_BLOCK = 1 << 18  # class records that are looked at together

# A class record as it lies in the file, frame and header.
_CLASS_RECORD = np.dtype(
    [
        ("magic", "<u4"),
        ("length", "<u4"),
        ("flag", "<u4"),
        ("label", "<f4"),
        ("id", "<u8"),
        ("id2", "<u8"),
        ("first", "<f4"),
        ("after", "<f4"),
    ]
)
_PAYLOAD = _CLASS_RECORD.itemsize - 8


@dataclass(frozen=True, slots=True)
class Layout:
    """Places in the order of the keys: images are start..stop-1, class records first_class..end-1."""

    start: int
    stop: int
    first_class: int
    end: int
    has_record_0: bool

    @property
    def class_records(self) -> int:
        return self.end - self.first_class


def find_layout(reader: RecordReader) -> Layout:
    """The layout that record 0 gives, or all records as images where there is no such record.

    What has an image counts as one, whatever record 0 says; a warning counts how many are more or fewer.
    Raises RecordError for a record 0 that makes no sense, and where class records are missing, or
    RecordIndexError where the index may be what lacks them.
    """
    size = len(reader)
    place = _record_0(reader)
    if place is None:
        return Layout(0, size, size, size, has_record_0=False)
    start, end = (1, size) if place == 0 else (0, size - (place == size - 1))
    header, _ = reader.header(reader.keys[place])
    first, after = header.label
    if not (first.is_integer() and after.is_integer() and 1 <= first < _MOST and 0 <= after < _MOST):
        raise RecordError(
            f"{reader.path} record 0: label [{first:g}, {after:g}] must be two whole numbers, the first "
            "at least 1"
        )
    promised = int(first) - 1
    stop = start + promised if reader.scanned else reader.keys.below(int(first))
    if not _ends_images(reader, start, stop, end):
        stop = _search_end(reader, start, end)
    rounding = 0 if first < EXACT else int(np.spacing(np.float32(first)))
    if abs(stop - start - promised) > rounding:
        log.warning("%s: record 0 promises %d images, there are %d", reader.path, promised, stop - start)
    found = Layout(start, stop, stop + (0 < place < size - 1), end, has_record_0=True)
    rounding = 0 if after < EXACT else 2 * int(np.spacing(np.float32(after)))
    if after > first and abs(found.class_records - int(after - first)) > rounding:
        says = f"[{first:g}, {after:g}] of record 0 promises {after - first:g} class records, there are"
        if reader.scanned:
            wrong = "was cut short" if found.class_records < after - first else "has records too many"
            raise RecordError(
                f"{reader.path}: label {says} {found.class_records}: the file {wrong}; copy it again"
            )
        raise RecordIndexError(
            f"{reader.path.with_suffix('.idx')}: label {says} keys for {found.class_records}; {STALE}"
        )
    return found


def count_empty_classes(reader: RecordReader, layout: Layout) -> int:
    """How many class records say that their class has no image; an image among them is an error."""
    empty = 0
    for start in range(layout.first_class, layout.end, _BLOCK):
        ranges = _ranges(reader, start, min(start + _BLOCK, layout.end))
        # From 2**24 on float32 cannot tell the ends of a small class apart.
        empty += int(((ranges[:, 1] <= ranges[:, 0]) & (ranges[:, 1] < EXACT)).sum())
    return empty


def class_sizes(reader: RecordReader, layout: Layout) -> npt.NDArray[np.int64]:
    """How many images each class record says that its class has; from 2**24 images on up to some rounding."""
    sizes = np.empty(layout.class_records, np.int64)
    for start in range(layout.first_class, layout.end, _BLOCK):
        stop = min(start + _BLOCK, layout.end)
        ranges = _ranges(reader, start, stop).astype(np.float64).clip(0, len(reader))
        found = np.nan_to_num(ranges[:, 1] - ranges[:, 0])
        sizes[start - layout.first_class : stop - layout.first_class] = found.clip(0)
    return sizes


def _ranges(reader: RecordReader, start: int, stop: int) -> npt.NDArray[np.float32]:
    """The labels [n, 2] of class records."""
    data = reader.equal_records(start, stop, size=_CLASS_RECORD.itemsize)
    if data is not None:
        records = np.frombuffer(data, _CLASS_RECORD)
        good = (records["magic"] == MAGIC) & (records["length"] == _PAYLOAD) & (records["flag"] == 2)
        if good.all():
            return np.stack([records["first"], records["after"]], axis=1)
    return np.array([_range(reader, key) for key in reader.keys[start:stop].tolist()], np.float32)


def _range(reader: RecordReader, key: int) -> tuple[float, float]:
    header, image = reader.header(key)
    if image and not reader.scanned:
        index = reader.path.with_suffix(".idx")
        raise RecordIndexError(f"{index}: key {key} is that of an image, not of a class record; {STALE}")
    return (header.label[0], header.label[1]) if header.flag == 2 else (0.0, 1.0)


def _record_0(reader: RecordReader) -> int | None:
    """The place of record 0, where it is not an image like the others.

    RecordIndexError where the index gives the key 0 to an image, or to none, and the first or the last record
    of the file is none: where there is such a record 0, that is it or a class record.
    """
    if reader.scanned:  # keys say nothing then
        return _scanned_record_0(reader)
    if reader.keys[0] == 0 and _is_header(reader, 0):
        return 0
    for place in reader.ends_in_file():
        with contextlib.suppress(RecordError):  # damage is an error when it is read
            if _is_header(reader, place):
                raise RecordIndexError(
                    f"{reader.path.with_suffix('.idx')}: key {reader.keys[place]} is that of a record "
                    f"without image, and key 0 is not that of record 0; {STALE}"
                )
    return None


def _scanned_record_0(reader: RecordReader) -> int | None:
    last = len(reader) - 1
    if _is_header(reader, 0):
        return 0
    if not _is_header(reader, last):
        return None
    # Record 0 and the class records lie behind the images, and its numbers are the larger ones.
    first = _search_end(reader, 0, last)
    return max(first, last, key=lambda place: reader.header(reader.keys[place])[0].label[0])


def _is_header(reader: RecordReader, place: int) -> bool:
    return lacks_image(*reader.header(reader.keys[place]))


def lacks_image(header: Header, image: bool) -> bool:
    """Whether a record is record 0 or a class record, by its header and whether an image follows it."""
    return header.flag == 2 and not image


def _ends_images(reader: RecordReader, start: int, stop: int, end: int) -> bool:
    if not start <= stop <= end:
        return False
    image_before = stop == start or _has_image(reader, stop - 1) is not False
    return image_before and (stop == end or _has_image(reader, stop) is not True)


def _search_end(reader: RecordReader, start: int, end: int) -> int:
    """The first place without an image, where all images come first."""
    while start < end:
        middle = (start + end) // 2
        if _has_image(reader, middle) is False:
            end = middle
        else:
            start = middle + 1
    return start


def _has_image(reader: RecordReader, place: int) -> bool | None:
    """None where the record is damaged, which is an error when it is read."""
    try:
        return reader.header(reader.keys[place])[1]
    except RecordError:
        return None
