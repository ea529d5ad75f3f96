"""Which images are kept out of training, so that there is something to verify on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partialfc.data.split.hold_out import hold_out_classes
from partialfc.errors import ConfigError

SHARE = 10  # of so many classes one is held out
FEWEST, MOST = 10, 500  # classes; fewer say nothing of other classes, more take long to verify
MANY = 50  # classes, before FEWEST of them may be held out
ENOUGH_IMAGES = 5  # of a class, before some of them may be held out


@dataclass(frozen=True, eq=False)
class HeldOut:
    """kind: whole classes, or some images of each. indices [m]: of those images; of: how many classes."""

    kind: Literal["classes", "images"]
    indices: NDArray[np.int64]
    of: int


def hold_out(labels: NDArray[np.signedinteger], *, classes: int | None, seed: int) -> HeldOut | None:
    """Whole classes where there are enough, else a fifth of the images of each; None where there are too few.

    labels [n]: the class of each image, -1 for none. classes: how many to hold out, which must have two
    images or more; None: a tenth, 10 to 500. The same arguments give the same images. Raises ConfigError
    where `classes` are more than there are, or leave fewer than two.
    """
    names, sizes = np.unique(labels[labels >= 0], return_counts=True)
    eligible = names[sizes >= 2]
    if classes is not None:
        return _asked_for(labels, names, eligible, classes, seed=seed)
    wanted = max(FEWEST, min(MOST, len(names) // SHARE))
    if len(names) >= MANY and len(eligible) >= FEWEST:
        return _classes(labels, min(wanted, len(eligible)), seed=seed)
    return _images(labels, names[sizes >= ENOUGH_IMAGES], seed=seed)


def _asked_for(
    labels: NDArray[np.signedinteger],
    names: NDArray[np.signedinteger],
    eligible: NDArray[np.signedinteger],
    classes: int,
    *,
    seed: int,
) -> HeldOut | None:
    if classes == 0:
        return None
    most = min(len(eligible), len(names) - 2)
    if not 2 <= classes <= most:
        raise ConfigError(
            f"--hold-out is {classes}: it must be 0, or from 2 to {max(most, 0)}, as {len(eligible)} of "
            f"{len(names)} classes have two images or more, and two classes must be left to train on"
        )
    return _classes(labels, classes, seed=seed)


def _classes(labels: NDArray[np.signedinteger], count: int, *, seed: int) -> HeldOut:
    """As many as `partialfc data split --classes` would hold out, and the same ones."""
    return HeldOut("classes", np.flatnonzero(hold_out_classes(labels, count, seed=seed)), count)


def _images(
    labels: NDArray[np.signedinteger], eligible: NDArray[np.signedinteger], *, seed: int
) -> HeldOut | None:
    """A fifth of the images of each class that has enough, at least two, so that they make a pair."""
    if len(eligible) < 2:
        return None
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # by class, in random order within each
    found = []
    for name in eligible.tolist():
        start, stop = np.searchsorted(labels[order], [name, name + 1]).tolist()
        found.append(order[start : start + max(2, (stop - start) // ENOUGH_IMAGES)])
    return HeldOut("images", np.sort(np.concatenate(found)), len(eligible))
