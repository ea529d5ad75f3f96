"""The data of benchmarks/clean.py: glyphs with labels that are wrong on purpose, and which these are."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from partialfc.data.images.codec import decode, resize
from partialfc.data.sources.insightface import RecordSource, write_source

SIZE = (32, 32)


@dataclass(frozen=True)
class Noisy:
    """given, true: the class ids of the images of `path`, by their place in it."""

    path: Path
    given: np.ndarray
    true: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        return self.given != self.true


def flipped(data: Path, folder: Path, *, share: float, seed: int, limit: int | None = None) -> Noisy:
    """The images of `data`, of which a share got another label, each of the others as likely.

    limit: take so many classes, the same whatever the seed.
    """
    source = RecordSource(data / "train.rec")
    classes = source.class_ids().astype(np.int64)
    chosen = np.arange(source.num_classes)
    if limit is not None:
        chosen = np.sort(np.random.default_rng(0).permutation(chosen)[:limit])
    images = np.flatnonzero(np.isin(classes, chosen))
    true = np.searchsorted(chosen, classes[images])
    generator = np.random.default_rng(seed)
    flips = generator.permutation(len(true))[: round(share * len(true))]
    given = _flipped(true, flips, len(chosen), generator)
    return _written(source, folder, images, given, true, num_classes=len(chosen))


def _written(
    source: RecordSource,
    folder: Path,
    images: np.ndarray,
    given: np.ndarray,
    true: np.ndarray,
    *,
    num_classes: int,
) -> Noisy:
    order = np.argsort(given, kind="stable")  # images of a class lie together in such files

    def samples() -> Iterator[tuple[bytes, int]]:
        for index in order.tolist():
            yield source.read(int(images[index]))[0], int(given[index])

    path = folder / "train.rec"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_source(path, samples(), num_classes=num_classes, image_size=SIZE)
    return Noisy(path, given[order], true[order])


@dataclass(frozen=True)
class Rearranged:
    """cut: pairs of ids that are one class. joined: ids that are two classes."""

    noisy: Noisy
    cut: set[tuple[int, int]]
    joined: set[int]


def cut_and_joined(data: Path, folder: Path, *, count: int, share: float, seed: int) -> Rearranged:
    """`count` classes cut into two ids at random, `count` pairs of others put together; then flips.

    `true` are the ids before the flips.
    """
    source = RecordSource(data / "train.rec")
    classes = source.class_ids().astype(np.int64)
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(source.num_classes)
    ids = classes.copy()
    for number, each in enumerate(chosen[:count].tolist()):
        images = generator.permutation(np.flatnonzero(classes == each))
        ids[images[: len(images) // 2]] = source.num_classes + number
    pairs = chosen[count : 3 * count].reshape(count, 2)
    for kept, gone in pairs.tolist():
        ids[classes == gone] = kept
    used, true = np.unique(ids, return_inverse=True)
    new = {int(old): place for place, old in enumerate(used.tolist())}
    flips = generator.permutation(len(true))[: round(share * len(true))]
    given = _flipped(true, flips, len(used), generator)
    first = source.num_classes  # of the ids that the cut classes got besides
    return Rearranged(
        _written(source, folder, np.arange(len(true)), given, true, num_classes=len(used)),
        {(new[each], new[first + number]) for number, each in enumerate(chosen[:count].tolist())},
        {new[kept] for kept in pairs[:, 0].tolist()},
    )


def _flipped(
    true: np.ndarray, chosen: np.ndarray, num_classes: int, generator: np.random.Generator
) -> np.ndarray:
    given = true.copy()
    given[chosen] = (true[chosen] + generator.integers(1, num_classes, len(chosen))) % num_classes
    return given


def look_alike(data: Noisy, pairs: set[tuple[int, int]]) -> int:
    """How many of these pairs of ids are drawn so alike that the pixels tell them apart no better than faces.

    For either id, the median of: how far an image is from the nearest one of the other id, over how far it is
    from the nearest one of its own, is at most 2; as it is for nearly all classes that are cut in two.
    """
    source = RecordSource(data.path)

    def pixels(label: int) -> np.ndarray:
        images = [source.read(index)[0] for index in np.flatnonzero(data.true == label).tolist()]
        return np.stack([resize(decode(each, channels=1), 12).ravel() for each in images]).astype(np.float64)

    return sum(max(_ratio(*map(pixels, pair)), _ratio(*map(pixels, pair[::-1]))) <= 2 for pair in pairs)


def _ratio(own: np.ndarray, other: np.ndarray) -> float:
    near = np.abs(own[:, None] - own[None]).mean(2)
    np.fill_diagonal(near, np.inf)
    far = np.abs(own[:, None] - other[None]).mean(2).min(1)
    return float(np.median(far / near.min(1).clip(min=1)))
