"""Which classes, or which images of each class, are held out of training; numbers in, numbers out."""

import numpy as np
from numpy.typing import NDArray

from partialfc.errors import DataError

Amount = int | float  # so many, or a share: below 1


def hold_out_classes(
    labels: NDArray[np.signedinteger], amount: Amount, *, seed: int, min_images: int = 2
) -> NDArray[np.bool_]:
    """labels [n] -> [n], whether an image is of a class that is held out.

    amount: how many classes, or which share of those with images. They are drawn at random among the classes
    with at least `min_images` images: fewer make no pairs. A label of -1 is no class. DataError where there
    are too few such classes, and where none would be left to train on.
    """
    ids, sizes = np.unique(labels[labels >= 0], return_counts=True)
    fit = ids[sizes >= min_images]
    wanted = amount if isinstance(amount, int) else round(amount * len(ids))
    if not 1 <= wanted <= len(fit) or wanted == len(ids):
        raise DataError(
            f"{wanted} of {len(ids)} classes cannot be held out: at least 1 must be, and at least 1 must be "
            f"left; {len(fit)} have {min_images} images or more"
        )
    chosen = np.random.default_rng(seed).choice(fit, wanted, replace=False)
    return np.isin(labels, chosen)


def hold_out_images(labels: NDArray[np.signedinteger], amount: Amount, *, seed: int) -> NDArray[np.bool_]:
    """labels [n] -> [n], whether an image is held out.

    amount: how many images of each class, or which share of its images: of each class as many as its share
    rounded down or up, so that the share of all is right to one image. Each class keeps one image at least
    for training. A label of -1 is no class, and is not held out. DataError where no image would be.
    """
    rng = np.random.default_rng(seed)
    classes, of_image = np.unique(labels, return_inverse=True)
    sizes = np.bincount(of_image, minlength=len(classes))
    most = np.where(classes >= 0, np.maximum(sizes - 1, 0), 0)
    if isinstance(amount, int):
        held = np.minimum(amount, most)
    else:
        shares = amount * np.where(classes >= 0, sizes, 0)
        held = np.minimum(np.floor(shares).astype(np.int64), most)
        rest = round(shares.sum()) - int(held.sum())
        # Those whose share was cut the most get one more; which of equal ones, chance says.
        by_cut = np.lexsort((rng.random(len(classes)), held - shares))
        by_cut = by_cut[held[by_cut] < most[by_cut]]
        held[by_cut[: max(0, rest)]] += 1
    if not held.any():
        raise DataError(
            f"no image can be held out: of {int((classes >= 0).sum())} classes, {int((most > 0).sum())} have "
            "2 images or more, and each keeps one for training"
        )
    order = np.lexsort((rng.random(len(labels)), of_image))  # by class, within it at random
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(labels))
    place -= np.concatenate([[0], np.cumsum(sizes)[:-1]])[of_image]
    return np.asarray(place < held[of_image])
