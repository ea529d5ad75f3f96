"""Drawing verification pairs from labelled images."""

import logging
from collections.abc import Sequence

import numpy as np

from partialfc.data.images.codec import problem
from partialfc.data.pairs.files import PairSet
from partialfc.data.sources.checked_images import listed, named
from partialfc.data.sources.labelled import Source
from partialfc.errors import DataError, PairsError

log = logging.getLogger(__name__)


def make_pairs(source: Source, *, pairs: int, seed: int, max_pixels: int | None = None) -> PairSet:
    """Half genuine and half impostor pairs, none twice; a function of the source, `pairs` and `seed` only.

    Genuine pairs are spread over the classes as evenly as their images allow, so that a few large classes do
    not decide the result; impostor pairs are uniform over all that there are. The order is random, but pairs
    2i and 2i + 1 are one genuine and one impostor pair, so that consecutive folds are balanced. Every image
    of the source is read once for its label; only the chosen ones are kept.

    Raises PairsError when `pairs` is odd or less than 2, or more than the source holds; and one that names
    all images that cannot be read, or, if `max_pixels` is given and one that was drawn does not decode or
    claims more pixels, all that are like it.
    """
    if pairs < 2 or pairs % 2:
        raise PairsError(f"pairs is {pairs}: it must be even and at least 2, as half of them are genuine")
    half = pairs // 2
    rng = np.random.default_rng(seed)
    labels = _labels(source)
    order = np.argsort(labels, kind="stable")  # images grouped by class
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    genuine = _genuine(starts, sizes, half, rng)
    impostor = _impostor(starts, sizes, half, rng)
    # [half, kind, 2]: shuffle each kind, then draw which of the two comes first.
    couples = np.stack([rng.permutation(genuine), rng.permutation(impostor)], axis=1)
    genuine_first = rng.random(half) < 0.5
    couples[~genuine_first] = couples[~genuine_first, ::-1]
    same = np.stack([genuine_first, ~genuine_first], axis=1).reshape(-1)
    chosen = order[couples.reshape(-1)]
    images = _images(source, np.unique(chosen).tolist(), max_pixels)
    known = labels[chosen].reshape(-1, 2)
    return PairSet([images[index] for index in chosen.tolist()], same, known)


def _labels(source: Source) -> np.ndarray:
    """[n] class ids of the source."""
    labels, bad = np.empty(len(source), np.int64), list[str]()
    for index in range(len(source)):
        try:
            labels[index] = source.read(index)[1]
        except DataError as error:
            bad.append(named(source.name(index), error))
    _refuse(bad, len(source))
    return labels


def _images(source: Source, indices: Sequence[int], max_pixels: int | None) -> dict[int, bytes]:
    """The encoded images by index. Where one is bad, all of the source are looked at, to name all at once."""
    images = {index: source.read(index)[0] for index in indices}
    if max_pixels is not None and any(problem(image, max_pixels=max_pixels) for image in images.values()):
        log.info("an image that was drawn cannot be used: checking all %d, to name all such", len(source))
        problems = ((i, problem(source.read(i)[0], max_pixels=max_pixels)) for i in range(len(source)))
        _refuse([named(source.name(i), error) for i, error in problems if error], len(source))
    return images


def _refuse(bad: Sequence[str], total: int) -> None:
    if bad:
        raise PairsError(
            f"{listed(bad, total)}\nreplace or remove them; or pack the folder without them "
            "(partialfc data pack --max-bad) and draw from the .rec"
        )


def _genuine(starts: np.ndarray, sizes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Distinct pairs [count, 2] of positions in one class; class c has `sizes[c]` from `starts[c]` on."""
    available = sizes * (sizes - 1) // 2
    if available.sum() < count:
        raise PairsError(
            f"{2 * count} pairs need {count} genuine ones, but {sizes.sum()} images of {len(sizes)} classes "
            f"make only {available.sum()}: ask for at most {2 * available.sum()} pairs, or add images"
        )
    found = []
    for start, size, share in zip(starts, sizes, _even_shares(available, count, rng), strict=True):
        if share:
            later = np.arange(size - 1, -1, -1)  # partners of each image: those after it in the class
            found.append(start + _unrank(_draw(later.sum(), share, rng), later, np.arange(1, size + 1)))
    return np.concatenate(found)


def _impostor(starts: np.ndarray, sizes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Distinct pairs [count, 2] of positions in different classes."""
    stops = np.repeat(starts + sizes, sizes)  # partners of each image: those of later classes
    later = sizes.sum() - stops
    if later.sum() < count:
        raise PairsError(
            f"{2 * count} pairs need {count} impostor ones, but {sizes.sum()} images of {len(sizes)} classes "
            f"make only {later.sum()}: ask for at most {2 * later.sum()} pairs, or add classes"
        )
    return _unrank(_draw(later.sum(), count, rng), later, stops)


def _even_shares(available: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """How many of `count` each class gives: as equal as `available` [C] allows, the rest at random."""
    shares = np.zeros_like(available)
    while left := count - int(shares.sum()):
        open_classes = np.flatnonzero(shares < available)
        if left < len(open_classes):
            shares[rng.choice(open_classes, left, replace=False)] += 1
        else:
            room = available[open_classes] - shares[open_classes]
            shares[open_classes] += np.minimum(room, left // len(open_classes))
    return shares


def _draw(total: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` distinct ranks below `total`."""
    return rng.choice(int(total), int(count), replace=False)


def _unrank(ranks: np.ndarray, partners: np.ndarray, first_partner: np.ndarray) -> np.ndarray:
    """Ranks [n] over all (image, partner) pairs -> pairs [n, 2], when image i has `partners[i]` partners.

    The partners of image i are consecutive, from `first_partner[i]` on.
    """
    stops = np.cumsum(partners)
    image = np.searchsorted(stops, ranks, side="right")
    return np.stack([image, first_partner[image] + ranks - (stops[image] - partners[image])], axis=1)
