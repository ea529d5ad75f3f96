"""What a check found, as it is reported: by kind, with the keys of the images."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from partialfc.data.check.kinds import Kind
from partialfc.data.sources.labelled import Labelled

TITLES = {
    Kind.BROKEN: "Cannot be decoded",
    Kind.LABEL: "Label out of range",
    Kind.SIZE: "Wrong size",
    Kind.BLANK: "Of one colour",
    Kind.TURNED: "Turned by a viewer",
    Kind.TRANSPARENT: "Transparent",
    Kind.DUPLICATE: "Twice in a class",
    Kind.CONFLICT: "In two classes",
    Kind.NEAR_DUPLICATE: "Nearly the same in a class",
    Kind.NEAR_CONFLICT: "Nearly the same in two classes",
}
SINGLE = (Kind.BROKEN, Kind.LABEL, Kind.SIZE, Kind.BLANK, Kind.TURNED, Kind.TRANSPARENT)
NOT_BAD = {Kind.TURNED, Kind.TRANSPARENT, Kind.NEAR_CONFLICT}  # which are worth a look, and may be right


@dataclass(frozen=True, slots=True)
class Single:
    """An image, by its index, and what is wrong with it."""

    index: int
    why: str


@dataclass(frozen=True, slots=True)
class Group:
    """Images that are the same or nearly so, by their indices, ascending; and which of them can be kept.

    same_bytes: whether the files are equal, not only the pixels.
    """

    indices: tuple[int, ...]
    kept: frozenset[int]
    same_bytes: bool = False


@dataclass
class Checked:
    """What a check of `source` found. labels: the class id of each image that is in a finding."""

    source: Labelled
    singles: dict[Kind, list[Single]]
    groups: dict[Kind, list[Group]]
    labels: dict[int, int]
    sizes: Counter[tuple[int, int]]  # (height, width) of images that decode
    formats: Counter[str]
    seconds: float
    empty_classes: int

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Those that were looked for."""
        return (*self.singles, *self.groups)

    def images(self, kind: Kind) -> int:
        """How many images the findings of a kind are about."""
        if kind in self.singles:
            return len(self.singles[kind])
        return sum(len(group.indices) for group in self.groups.get(kind, ()))

    def count(self, kind: Kind) -> int:
        """How many images, or groups of images, were found."""
        return len(self.singles[kind]) if kind in self.singles else len(self.groups.get(kind, ()))

    @property
    def anything(self) -> bool:
        """Whether there is a finding of any kind."""
        return any(self.count(kind) for kind in self.kinds)

    def class_name(self, index: int) -> str | None:
        """The name of an image's class, or its id where it has none; None where that is not known."""
        label = self.labels.get(index)
        names = self.source.classes
        return None if label is None else names[label] if names and label < len(names) else str(label)

    def bad(self, *, near: bool) -> Iterator[tuple[str, str]]:
        """(key, why) of each image to leave out of a training, in the order of the source.

        Of images that are the same, the first is kept where they are of one class, and none where they are of
        several. near: likewise for those that are nearly the same and of one class.
        """
        unwanted = NOT_BAD if near else {*NOT_BAD, Kind.NEAR_DUPLICATE}
        why: dict[int, str] = {}
        for kind in (kind for kind in self.kinds if kind not in unwanted):
            for single in self.singles.get(kind, ()):
                why.setdefault(single.index, f"{kind}: {single.why}")
            for group in self.groups.get(kind, ()):
                first, second = group.indices[:2]
                for index in group.indices:
                    if index not in group.kept:
                        other = self.source.key(second if index == first else first)
                        why.setdefault(index, f"{kind}: in a group with {other}")
        for index in sorted(why):
            yield self.source.key(index), one_line(why[index])

    def document(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        return {
            "source": self.source.origin,
            "images": len(self.source),
            "classes": self.source.num_classes,
            "empty_classes": self.empty_classes,
            "seconds": round(self.seconds, 3),
            "found": {str(kind): self.count(kind) for kind in self.kinds},
            "sizes": [
                {"height": height, "width": width, "images": count}
                for (height, width), count in self.sizes.most_common()
            ],
            "formats": dict(self.formats.most_common()),
            "findings": {
                **{str(kind): [self._single(each) for each in found] for kind, found in self.singles.items()},
                **{str(kind): [self._group(each) for each in found] for kind, found in self.groups.items()},
            },
        }

    def _image(self, index: int) -> dict[str, Any]:
        return {"key": self.source.key(index), "class": self.class_name(index)}

    def _single(self, single: Single) -> dict[str, Any]:
        return self._image(single.index) | {"why": single.why}

    def _group(self, group: Group) -> dict[str, Any]:
        images: Sequence[dict[str, Any]] = [
            self._image(index) | {"keep": index in group.kept} for index in group.indices
        ]
        return {"images": images, "same_bytes": group.same_bytes}


def one_line(text: str) -> str:
    """A message as a comment in a file of keys."""
    return " ".join(text.split())
