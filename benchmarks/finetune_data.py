"""The data of benchmarks/finetune.py: glyphs to begin with, and few images of others in another look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.insightface import RecordSource, write_source

SPLIT_SEED = PAIRS_SEED = 0  # the same classes, images and pairs in every run
SIZE = (32, 32)


@dataclass(frozen=True)
class Split:
    """Files: what the base learns, what is fine-tuned on, and pairs of the latter's other images.

    images, few: how many images the first two have.
    """

    base: Path
    new: Path
    pairs: Path
    images: int
    few: int


def split(plain: Path, jittered: Path, folder: Path, *, new: int, shots: int, pairs: int) -> Split:
    """`new` of the classes, drawn once, with `shots` images each of `jittered`; the base has all others."""
    sources = [RecordSource(path / "train.rec") for path in (plain, jittered)]
    names = [source.classes for source in sources]
    if names[0] is None or names[0] != names[1]:
        raise SystemExit(f"{plain} and {jittered} must be glyph sets with the same characters")
    generator = np.random.default_rng(SPLIT_SEED)
    chosen = np.sort(generator.permutation(len(names[0]))[:new])
    others = np.setdiff1d(np.arange(len(names[0])), chosen)
    base = _write(folder / "base", sources[0], others, names[0], _images(sources[0], others))
    parts: list[list[np.ndarray]] = [[], []]
    for images in _images(sources[1], chosen):
        order = generator.permutation(images)
        parts[0].append(order[:shots])
        parts[1].append(order[shots:])
    few = _write(folder / "new", sources[1], chosen, names[1], parts[0])
    rest = _write(folder / "rest", sources[1], chosen, names[1], parts[1])
    write_pairs(folder / "pairs.bin", make_pairs(RecordSource(rest[0]), pairs=pairs, seed=PAIRS_SEED))
    return Split(base[0], few[0], folder / "pairs.bin", base[1], few[1])


def _images(source: RecordSource, classes: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    """By class, the indices of its images."""
    ids = source.class_ids()
    return [np.flatnonzero(ids == each) for each in classes]


def _write(
    folder: Path,
    source: RecordSource,
    classes: np.ndarray,
    names: Sequence[str],
    images: Sequence[np.ndarray],
) -> tuple[Path, int]:
    """A .rec of these images of these classes, which get ids from 0 on and keep their names."""

    def samples() -> Iterator[tuple[bytes, int]]:
        for label, indices in enumerate(images):
            for index in np.sort(indices).tolist():
                yield source.read(index)[0], label

    folder.mkdir(parents=True)
    path = folder / "train.rec"
    count = write_source(path, samples(), num_classes=len(classes), image_size=SIZE)
    (folder / "classes.txt").write_text("".join(f"{names[each]}\n" for each in classes), encoding="utf-8")
    return path, count
