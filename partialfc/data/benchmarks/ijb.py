"""IJB-B and IJB-C in the layout that InsightFace publishes and the usual evaluation code reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partialfc.data.align.crop import align_face
from partialfc.data.benchmarks.image_set import ImageSet, of_files
from partialfc.data.images.codec import decode, encode_png
from partialfc.data.images.header import MAX_PIXELS
from partialfc.errors import DataError, ImageError

Integers = npt.NDArray[np.int64]
MEDIA = "_face_tid_mid.txt"
FACES = "_name_5pts_score.txt"
PAIRS = "_template_pair_label.txt"
GALLERIES = ("_1N_gallery_{}1.csv", "_1N_gallery_{}2.csv")
PROBES = "_1N_probe_mixed.csv"


@dataclass(frozen=True, eq=False)
class Enrolled:
    """Templates [n], each once, and the subject [n] whom each shows."""

    templates: Integers
    subjects: Integers


@dataclass(frozen=True, eq=False)
class Templates:
    """n images. template, media [n]: the numbers of the template and of the medium (a photograph, or a video
    whose frames are several images) that each is of. landmarks [n, 5, 2] in its pixels, detector [n]: how
    sure the detector was of each face. pairs [P, 2] of templates with same [P], or None where the folder has
    no pairs; galleries and probes of 1:N, likewise.
    """

    images: ImageSet
    template: Integers
    media: Integers
    landmarks: npt.NDArray[np.float64]
    detector: npt.NDArray[np.float64]
    pairs: Integers | None
    same: npt.NDArray[np.bool_] | None
    galleries: tuple[Enrolled, ...]
    probes: Enrolled | None

    def aligned(self, *, max_pixels: int = MAX_PIXELS) -> ImageSet:
        """The images' faces as crops of 112 x 112 by their landmarks, encoded anew without loss."""
        images = self.images

        def read(number: int) -> bytes:
            pixels = decode(images.read(number), channels=3, max_pixels=max_pixels)
            try:
                return encode_png(align_face(pixels, self.landmarks[number]))
            except DataError as error:
                raise ImageError(str(error)) from error

        return ImageSet(
            images.origin, images.labels, images.identities, images.named, read, images.key, images.name
        )


def read_templates(folder: Path) -> Templates:
    """`meta/` with the lists, whose names begin with ijbb or ijbc, and `loose_crop/` with the images.

    `*_face_tid_mid.txt`: a line `image template medium` for each image. `*_name_5pts_score.txt`: a line for
    each, in the same order, of its file, the x and y of both eyes, the nose and both corners of the mouth,
    and the detector's score. `*_template_pair_label.txt`: `template template 1` for one subject, 0 for two.
    `*_1N_gallery_G1.csv` and `G2` (IJB-B: `S1`, `S2`), `*_1N_probe_mixed.csv`: a head line, and lines that
    begin with a template and its subject, one for each image of it. Whitelam et al. 2017 (IJB-B), Maze et
    al. 2018 (IJB-C). Pairs or 1:N may be missing, not both.

    Raises DataError, which names the file and where it can the line.
    """
    meta, prefix = _find(folder)
    names, numbers = _columns(meta / f"{prefix}{MEDIA}", 3)
    files, faces = _columns(meta / f"{prefix}{FACES}", 12)
    if names != files:
        raise DataError(_unequal(meta / f"{prefix}{MEDIA}", names, meta / f"{prefix}{FACES}", files))
    pairs = same = None
    if (listing := meta / f"{prefix}{PAIRS}").is_file():
        rows = _table(listing, np.int64, 3, range(3))
        pairs, same = rows[:, :2], rows[:, 2] == 1
    galleries = tuple(
        _enrolled(found)
        for pattern in GALLERIES
        for letter in "GS"
        if (found := meta / f"{prefix}{pattern.format(letter)}").is_file()
    )
    probes = _enrolled(meta / f"{prefix}{PROBES}") if galleries else None
    if pairs is None and probes is None:
        raise DataError(f"{meta}: has neither {prefix}{PAIRS} nor the lists of 1:N, {prefix}_1N_*.csv")
    return Templates(
        images=of_files(folder / "loose_crop", files, files),
        template=numbers[:, 0].astype(np.int64),
        media=numbers[:, 1].astype(np.int64),
        landmarks=faces[:, :10].reshape(-1, 5, 2),
        detector=faces[:, 10],
        pairs=pairs,
        same=same,
        galleries=galleries,
        probes=probes,
    )


def _find(folder: Path) -> tuple[Path, str]:
    """The folder of the lists, and what their names begin with."""
    meta = folder / "meta" if (folder / "meta").is_dir() else folder
    found = sorted(path.name.removesuffix(MEDIA) for path in meta.glob(f"*{MEDIA}"))
    if len(found) != 1:
        what = "no" if not found else "several"
        raise DataError(
            f"{folder}: has {what} *{MEDIA}; give the folder of IJB-B or of IJB-C, which has it in meta/ and "
            "the images in loose_crop/"
        )
    return meta, found[0]


def _columns(path: Path, columns: int) -> tuple[list[str], npt.NDArray[np.float64]]:
    """The first field of each line, and the others as numbers [n, columns - 1]."""
    names = [str(name) for name in _table(path, np.str_, columns, [0])[:, 0]]
    return names, _table(path, np.float64, columns, range(1, columns))


def _table(path: Path, kind: type, columns: int, used: Sequence[int]) -> npt.NDArray[Any]:
    """Of lines of so many fields, which blanks separate, those that are used."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = len(file.readline().split())
        if first != columns:
            raise DataError(f"{path}: line 1 has {first} fields, not {columns}")
        return np.loadtxt(path, dtype=kind, comments=None, usecols=tuple(used), ndmin=2, encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise error if isinstance(error, DataError) else DataError(f"{path}: {error}") from error


def _enrolled(path: Path) -> Enrolled:
    try:
        rows = np.loadtxt(
            path, dtype=np.int64, delimiter=",", comments=None, skiprows=1, usecols=(0, 1), ndmin=2
        )
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    rows = np.unique(rows, axis=0)
    templates, first, counts = np.unique(rows[:, 0], return_index=True, return_counts=True)
    if (counts > 1).any():
        twice = int(counts.argmax())
        raise DataError(
            f"{path}: template {templates[twice]} has {counts[twice]} subjects, such as "
            f"{rows[first[twice], 1]} and {rows[first[twice] + 1, 1]}; a template shows one"
        )
    return Enrolled(templates, rows[first, 1])


def _unequal(path: Path, names: list[str], other: Path, others: list[str]) -> str:
    for number, (name, wanted) in enumerate(zip(names, others, strict=False), start=1):
        if name != wanted:
            return f"{path}: line {number} is of {name!r}, and line {number} of {other} of {wanted!r}"
    return f"{path} has {len(names)} lines and {other} {len(others)}: both have a line for each image"
