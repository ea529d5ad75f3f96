"""What was found, as values for JSON and as lines of text."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor

from partialfc.cleaning.findings import Findings
from partialfc.cleaning.references import of_classes
from partialfc.data.sources.labelled import Labelled

DIGITS = 4


def document(found: Findings, source: Labelled, labels: Tensor) -> dict[str, Any]:
    """All findings, with images by their keys, and classes by their names, or their ids where they have none.

    Left-out images come with the likeliest first. A number that is not known is null.
    """
    wrong, name = found.wrong, class_namer(source)
    return {
        "images": len(labels),
        "classes": source.num_classes,
        "wrong_labels": {
            "estimated_share": _rounded(wrong.noise),
            "expected_precision": _rounded(wrong.precision),
            "expected_recall": _rounded(wrong.recall),
            "left_out": [_image(found, source, labels, index) for index in by_likelihood(found)],
            "disputed": [
                {"class": name(int(labels[images[0]])), "images": [source.key(i) for i in images.tolist()]}
                for images in disputed_classes(found, labels)
            ],
            "not_compared": int(wrong.margins.isnan().sum()),
        },
        "duplicate_classes": [
            {
                "classes": [name(pair.first), name(pair.second)],
                "cosine": _rounded(pair.cosine),
                "gap": _rounded(pair.gap),
            }
            for pair in found.duplicates
        ],
        "mixed_classes": [
            {"class": name(each.class_id), "images": [source.key(i) for i in each.others]}
            for each in found.mixed
        ],
    }


def leave_out_lines(found: Findings, source: Labelled, labels: Tensor) -> Iterator[tuple[str, str]]:
    """(key, comment) of each image to leave out, in the order of the source, for `write_keys`."""
    name = class_namer(source)
    for index in found.wrong.left_out.nonzero().flatten().tolist():
        nearest = int(found.wrong.nearest.classes[index, 0])
        yield source.key(index), f"labelled {name(int(labels[index]))}, nearest to {name(nearest)}"


def summary(found: Findings, labels: Tensor) -> str:
    """A few lines for a terminal."""
    wrong, left_out = found.wrong, int(found.wrong.left_out.sum())
    lines = [f"{len(labels):,} images: about {wrong.noise:.2%} of the labels are wrong"]
    if wrong.precision is None or wrong.recall is None:
        lines.append("none is likely enough to be wrong to be left out")
    else:
        lines.append(
            f"{left_out:,} images to leave out, of which {wrong.precision:.1%} are expected to be wrong: "
            f"{wrong.recall:.1%} of all wrong ones"
        )
    if disputed := int(wrong.disputed.sum()):
        lines.append(f"{disputed:,} images of classes in which no two agree, which are kept: look at them")
    if alone := int(wrong.margins.isnan().sum()):
        lines.append(f"{alone:,} images that are alone in their class, which cannot be compared")
    lines.append(f"{len(found.duplicates):,} pairs of classes that look like one identity")
    lines.append(f"{len(found.mixed):,} classes that look like two identities")
    return "\n".join(lines)


def by_likelihood(found: Findings) -> list[int]:
    """The images to leave out, the one that fits its class least first."""
    indices = found.wrong.left_out.nonzero().flatten()
    order = found.wrong.margins[indices].argsort(stable=True)
    return indices[order].tolist()


def disputed_classes(found: Findings, labels: Tensor) -> list[Tensor]:
    """The indices of the images of each class in which no two agree."""
    indices = found.wrong.disputed.nonzero().flatten()
    return [indices[part] for part in of_classes(labels[indices])] if len(indices) else []


def class_namer(source: Labelled) -> Callable[[int], str | int]:
    """Names of classes by id; the id itself where the source has no names."""
    names = source.classes
    return lambda label: names[label] if names and label < len(names) else label


def _image(found: Findings, source: Labelled, labels: Tensor, index: int) -> dict[str, Any]:
    wrong, name = found.wrong, class_namer(source)
    first, second = wrong.nearest.cosines[index].tolist()
    near, next_near = wrong.nearest.classes[index].tolist()
    return {
        "image": source.key(index),
        "class": name(int(labels[index])),
        "cosine": _rounded(found.own[index]),
        "probability": _rounded(wrong.probabilities[index]),
        "nearest": [
            {"class": name(near), "cosine": _rounded(first)},
            {"class": name(next_near), "cosine": _rounded(second)},
        ],
    }


def _rounded(value: float | Tensor | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(np.round(float(value), DIGITS))
