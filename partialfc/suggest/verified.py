"""What a run is verified on: pair files that are there, or pairs of images that are held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.pairs.files import PairSet, read_pairs
from partialfc.data.sources.labelled import Labelled
from partialfc.errors import PairsError
from partialfc.suggest.asked import Asked
from partialfc.suggest.given import Given
from partialfc.suggest.held_out import HeldOut, hold_out
from partialfc.suggest.pairs import draw_pairs

BESIDE = (
    "Pair files that lie beside the images, whose classes should not be among these. To hold classes out of "
    "training instead: partialfc init --hold-out 100."
)
TOO_MANY = (
    "None: of so many images no labels were read. Give pair files of other classes, such as {lfw: lfw.bin}, "
    "or hold some classes out with partialfc init --hold-out 500, which takes minutes."
)
NOT_ASKED = "None, as asked for. Give pair files of other images, such as {mine: pairs.bin}."
TOO_FEW = (
    "None: pairs of one class need classes with two images or more, and enough of them that some can be held "
    "out. Give pair files of other images, such as {mine: pairs.bin} (partialfc data pairs)."
)


@dataclass(frozen=True, eq=False)
class Verified:
    """held: what is kept out of training; pairs: of its images; sets: pair files by name; why: these."""

    why: str
    sets: dict[str, str]
    held: HeldOut | None = None
    pairs: PairSet | None = None


def verified_on(
    asked: Asked,
    given: Given,
    source: Labelled,
    labels: NDArray[np.signedinteger] | None,
    *,
    image_size: int,
) -> Verified:
    """labels [n]: as of `labels_of`. image_size: of the network's input.

    What was given goes first, then pair files beside a .rec, and only then images are held out.
    """
    if asked.hold_out is None:
        if any(key.startswith("verification.sets") for key in given.values):
            return Verified("Pair files by name.", {})
        if beside := pairs_beside(asked.images):
            return Verified(BESIDE, beside)
        if labels is None:
            return Verified(TOO_MANY, {})
    if asked.hold_out == 0:
        return Verified(NOT_ASKED, {})
    held = hold_out(source.class_ids() if labels is None else labels, classes=asked.hold_out, seed=asked.seed)
    if held is None:
        return Verified(TOO_FEW, {})
    most = given.whole("data.max_pixels") or MAX_PIXELS
    pairs = draw_pairs(source, held.indices.tolist(), image_size=image_size, max_pixels=most, seed=asked.seed)
    if pairs is None:
        return Verified(TOO_FEW, {})
    kind = (
        "classes that training never sees"
        if held.kind == "classes"
        else "images that training never sees, of classes that it sees, as there are too few to hold some out"
    )
    why = f"{len(pairs.same):,} pairs of {kind}: same class or not? Add files of your own by name."
    return Verified(why, {"held_out": str(asked.pairs)}, held, pairs)


def pairs_beside(images: Sequence[str]) -> dict[str, str]:
    """Pair files in the folder of a .rec, such as lfw.bin, by their names without the suffix."""
    found = {}
    folders = dict.fromkeys(Path(each).parent for each in images if each.endswith(".rec"))
    for path in (path for folder in folders for path in sorted(folder.glob("*.bin"))):
        try:
            read_pairs(path)
        except PairsError:
            continue
        found[path.stem] = str(path)
    return found
