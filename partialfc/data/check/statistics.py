"""What a source consists of: images a class, sizes, formats, colours; by labels and first bytes alone."""

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partialfc.data.images.header import read_size
from partialfc.data.images.kinds import format_of, is_grey
from partialfc.data.parallel.in_order import in_order, workers_for
from partialfc.data.parallel.progress import ShowProgress, no_progress
from partialfc.data.sources.labelled import Labelled, Source
from partialfc.errors import DataError, LabelError, RecordIndexError

_PART = 256  # images that a worker looks at a time


@dataclass
class Looks:
    """How many images there are of each kind. unread: those that are none, or cannot be read."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (height, width)
    formats: Counter[str] = field(default_factory=Counter)
    colours: Counter[str] = field(default_factory=Counter)  # "grey", "colour"
    unread: int = 0
    bytes: int = 0  # of the encoded images

    def add(self, other: "Looks") -> None:
        """Count those of `other` too."""
        self.sizes.update(other.sizes)
        self.formats.update(other.formats)
        self.colours.update(other.colours)
        self.unread += other.unread
        self.bytes += other.bytes


@dataclass
class Statistics:
    """Of `source`. of_class: int64 [C], the images of each class. damaged: records without a class id."""

    source: Labelled
    of_class: NDArray[np.int64]
    damaged: int
    looks: Looks

    @property
    def histogram(self) -> list[tuple[int, int, int]]:
        """(least, most, number of classes) by images a class: 0, 1, 2..3, 4..7, ..., up to the largest."""
        return doubling(self.of_class)

    def ends(self, count: int) -> tuple[list[int], list[int]]:
        """The ids of the smallest classes that are not empty, and of the largest; `count` at most of each."""
        order = np.argsort(self.of_class, kind="stable")
        filled = order[self.of_class[order] > 0]
        return filled[:count].tolist(), filled[::-1][:count].tolist()

    def class_name(self, label: int) -> str:
        """The name of a class, or its id where it has none."""
        names = self.source.classes
        return names[label] if names and label < len(names) else str(label)

    def document(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        smallest, largest = self.ends(10)
        quantiles = np.quantile(self.of_class, (0.25, 0.5, 0.75)).tolist() if len(self.of_class) else []
        sizes, classes = np.unique(self.of_class, return_counts=True)
        return {
            "source": self.source.origin,
            "images": len(self.source),
            "classes": len(self.of_class),
            "empty_classes": int((self.of_class == 0).sum()),
            "images_a_class": {
                "least": int(self.of_class.min()) if len(self.of_class) else 0,
                "most": int(self.of_class.max(initial=0)),
                "mean": float(self.of_class.mean()) if len(self.of_class) else 0.0,
                "quartiles": quantiles,
                "histogram": [
                    {"from": least, "to": most, "classes": count} for least, most, count in self.histogram
                ],
                "classes_by_images": dict(zip(map(str, sizes.tolist()), classes.tolist(), strict=True)),
                "smallest": self._named(smallest),
                "largest": self._named(largest),
            },
            "sizes": [
                {"height": height, "width": width, "images": count}
                for (height, width), count in self.looks.sizes.most_common()
            ],
            "formats": dict(self.looks.formats.most_common()),
            "colours": dict(self.looks.colours.most_common()),
            "bytes": self.looks.bytes,
            "unread": self.looks.unread,
            "damaged": self.damaged,
        }

    def _named(self, labels: list[int]) -> list[dict[str, Any]]:
        return [{"class": self.class_name(label), "images": int(self.of_class[label])} for label in labels]


def statistics_of(
    source: Labelled,
    *,
    workers: int | None = None,
    progress: ShowProgress = no_progress,
) -> Statistics:
    """Count; no image is decoded, so damage beyond an image's first bytes is not seen.

    workers: as for in_order; None: one a core, where there are many images. Raises LabelError for a label
    that is no class id, RecordIndexError where an index does not fit its `.rec`.
    """
    labels = source.class_ids()
    count, known = len(source), labels[labels >= 0]
    classes = max(source.num_classes, int(known.max(initial=-1)) + 1)
    looks, done = Looks(), 0
    chosen = workers_for(count) if workers is None else workers
    with closing(in_order(_Look(source), count, part=_PART, workers=chosen)) as parts:
        for part in parts:
            looks.add(part)
            done = min(done + _PART, count)
            progress("counting", done, count)
    return Statistics(
        source,
        of_class=np.bincount(known, minlength=classes).astype(np.int64),
        damaged=count - len(known),
        looks=looks,
    )


def doubling(values: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(least, most, how many) of whole numbers from 0 on: 0 and 1 where there are any, 2..3, 4..7, and so on.

    From the first that is not empty to the last, the empty ones between them too.
    """
    which = np.where(values < 2, values, np.floor(np.log2(np.maximum(values, 1))).astype(np.int64) + 1)
    counts = np.bincount(which).tolist() if len(values) else []
    edges = [(0, 0), (1, 1), *((1 << power, (2 << power) - 1) for power in range(1, 63))]
    found = [(*edges[place], count) for place, count in enumerate(counts)]
    while found and not found[0][2]:
        found.pop(0)
    return found


@dataclass(frozen=True, slots=True)
class _Look:
    """Looks at the first bytes of the images start..stop of `source`."""

    source: Source

    def __call__(self, start: int, stop: int) -> Looks:
        found = Looks()
        for index in range(start, stop):
            try:
                data, _ = self.source.read(index)
                size, name = read_size(data), format_of(data)
                colour = "grey" if is_grey(data) else "colour"
            except RecordIndexError:
                raise
            except (DataError, LabelError):
                found.unread += 1
                continue
            found.sizes[size] += 1
            found.formats[name] += 1
            found.colours[colour] += 1
            found.bytes += len(data)
        return found
