"""Looking for what is wrong with the images of a source."""

import time
from collections import Counter
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from partialfc.data.check.equal import equal_groups
from partialfc.data.check.examine import BROKEN, FLAT, GOOD, NO_LABEL, Examined, examine
from partialfc.data.check.findings import SINGLE, Checked, Group, Single
from partialfc.data.check.kinds import Kind
from partialfc.data.check.near import near_groups
from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.parallel.in_order import workers_for
from partialfc.data.parallel.progress import ShowProgress, no_progress
from partialfc.data.sources.labelled import Labelled

DISTANCE = 4  # bits of 64 in which the hashes of nearly equal images may differ
MIN_SIDE = 8  # pixels


def check_source(
    source: Labelled,
    *,
    num_classes: int | None = None,
    size: tuple[int, int] | None = None,
    min_side: int = MIN_SIDE,
    distance: int = DISTANCE,
    skip: Collection[Kind] = (),
    max_pixels: int = MAX_PIXELS,
    workers: int | None = None,
    progress: ShowProgress = no_progress,
) -> Checked:
    """Read and decode every image of `source`, and report what is wrong, and which are there twice.

    num_classes: class ids must be below it; None: what the source says. size: (height, width) that all must
    have; min_side: pixels that each side must have at least. distance: in how many of 64 bits the perceptual
    hashes of two images may differ that count as nearly the same (hamming.py). skip: kinds that are not
    looked for. workers: as for in_order; None: one a core, where there are many images. Raises
    RecordIndexError where an index does not fit its `.rec`.
    """
    began = time.perf_counter()
    count = len(source)
    examined = examine(
        source,
        max_pixels=max_pixels,
        workers=workers_for(count) if workers is None else workers,
        progress=lambda done: progress("checking", done, count),
    )
    rows = examined.rows
    classes = source.num_classes if num_classes is None else num_classes
    kinds = [kind for kind in Kind if kind not in skip]
    singles = {
        kind: found
        for kind, found in _singles(examined, classes, size=size, min_side=min_side).items()
        if kind in kinds
    }
    groups: dict[Kind, list[Group]] = {kind: [] for kind in kinds if kind not in singles}
    seen = np.flatnonzero(rows["state"] <= FLAT)
    for group in _same(examined, seen):
        one_class = len(set(rows["label"][list(group.indices)].tolist())) == 1
        groups.get(Kind.DUPLICATE if one_class else Kind.CONFLICT, []).append(group)
    if not {Kind.NEAR_DUPLICATE, Kind.NEAR_CONFLICT}.isdisjoint(kinds):
        progress("comparing", 0, 1)
        _find_near(examined, groups, distance=distance)
        progress("comparing", 1, 1)
    labels = rows["label"]
    indices = {single.index for found in singles.values() for single in found}
    indices |= {index for found in groups.values() for group in found for index in group.indices}
    known = rows["state"] != NO_LABEL
    filled = np.unique(labels[seen])
    return Checked(
        source,
        singles,
        groups,
        labels={index: int(labels[index]) for index in indices if known[index]},
        sizes=_sizes(rows[seen]),
        formats=examined.formats,
        seconds=time.perf_counter() - began,
        empty_classes=classes - int(((filled >= 0) & (filled < classes)).sum()),
    )


def _singles(
    examined: Examined, classes: int, *, size: tuple[int, int] | None, min_side: int
) -> dict[Kind, list[Single]]:
    rows, why = examined.rows, examined.why
    state, label = rows["state"], rows["label"]
    beyond = f"num_classes is {classes}, so labels must be 0..{classes - 1}"
    found = {kind: list[Single]() for kind in SINGLE}
    found[Kind.BROKEN] = [Single(index, why[index]) for index in _places(state == BROKEN)]
    wrong = (state == NO_LABEL) | ((state <= FLAT) & (label >= classes))
    found[Kind.LABEL] = [
        Single(index, why.get(index) or f"label {label[index]}: {beyond}") for index in _places(wrong)
    ]
    height, width = rows["height"], rows["width"]
    rule, other = f"its sides must have {min_side} pixels at least", np.minimum(height, width) < min_side
    if size is not None:
        rule, other = f"it must be {size[0]} x {size[1]}", (height != size[0]) | (width != size[1])
    found[Kind.SIZE] = [
        Single(index, f"{height[index]} x {width[index]} pixels (height x width): {rule}")
        for index in _places(other & (state <= FLAT))
    ]
    found[Kind.BLANK] = [
        Single(index, "all of its pixels are nearly alike") for index in _places(state == FLAT)
    ]
    found[Kind.TURNED] = [
        Single(index, "its EXIF data asks for it to be turned or mirrored")
        for index in _places(rows["turned"])
    ]
    found[Kind.TRANSPARENT] = [
        Single(index, "its alpha lets something show through") for index in _places(rows["transparent"])
    ]
    return found


def _same(examined: Examined, seen: NDArray[np.int64]) -> list[Group]:
    """Images with the same pixels."""
    rows = examined.rows
    groups = []
    for places in equal_groups(rows["pixels"][seen]):
        indices = seen[places]
        one_class = len(np.unique(rows["label"][indices])) == 1
        kept = frozenset(indices[:1].tolist() if one_class else ())
        same_bytes = len(np.unique(rows["bytes"][indices])) == 1
        groups.append(Group(tuple(indices.tolist()), kept, same_bytes))
    return groups


def _find_near(examined: Examined, groups: dict[Kind, list[Group]], *, distance: int) -> None:
    """Add images whose pixels differ and whose hashes hardly do; of those with the same pixels the first."""
    rows = examined.rows
    good = np.flatnonzero(rows["state"] == GOOD)
    _, first = np.unique(rows["pixels"][good], axis=0, return_index=True)
    places = good[np.sort(first)]
    found = near_groups(rows["hash"][places], rows["label"][places], distance=distance)
    for within in found.within:
        indices = tuple(int(places[place]) for place, _ in within)
        kept = frozenset(int(places[place]) for place, keep in within if keep)
        groups.get(Kind.NEAR_DUPLICATE, []).append(Group(indices, kept))
    for across in found.across:
        groups.get(Kind.NEAR_CONFLICT, []).append(
            Group(tuple(int(places[place]) for place in across), frozenset())
        )


def _sizes(rows: NDArray[np.void]) -> Counter[tuple[int, int]]:
    sizes, counts = np.unique(np.stack([rows["height"], rows["width"]], axis=1), axis=0, return_counts=True)
    return Counter(
        {(height, width): n for (height, width), n in zip(sizes.tolist(), counts.tolist(), strict=True)}
    )


def _places(mask: NDArray[np.bool_]) -> list[int]:
    found: list[int] = np.flatnonzero(mask).tolist()
    return found
