"""Verification pairs: InsightFace's `.bin` files, lists of images or videos, CFP's folder, AgeDB's `.mat`."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from partialfc.data.images.codec import problem
from partialfc.data.pairs.agedb import IMAGES, read_agedb
from partialfc.data.pairs.bin_file import format_bin, parse_bin
from partialfc.data.pairs.cfp import read_cfp
from partialfc.data.pairs.identities import connected, fits, from_names
from partialfc.data.pairs.list_file import parse_list
from partialfc.data.pairs.listed import PairList, folds_by_kind
from partialfc.data.pairs.pictures import Frames, frames_of, read_picture
from partialfc.data.sources.checked_images import listed
from partialfc.errors import ImageError, PairsError
from partialfc.files import replacing

LIST_SUFFIXES = (".txt", ".csv", ".tsv")
FOLDS = 10  # as LFW has
LEAST_OF_FOLD = 2  # pairs, in folds that were asked for: of one alone the accuracy is 0 or 1


@dataclass(frozen=True, eq=False)
class PairSet:
    """P pairs of encoded images. `images`: 2P, such as JPEGs, 2i and 2i+1 form pair i; `same` bool [P].

    known [P, 2]: numbers of the identities on both sides of each pair, where the list says whom its images
    show. folds [P]: the number of each pair's fold, where the list has folds. by_kind: else fold k is the
    k-th part of the genuine and the k-th part of the impostor pairs, and not of all pairs in their order.
    """

    images: list[bytes]
    same: np.ndarray
    known: np.ndarray | None = None
    folds: np.ndarray | None = None
    by_kind: bool = False

    def __post_init__(self) -> None:
        check_pairs(self.same, len(self.images), "images")

    @cached_property
    def identities(self) -> np.ndarray:
        """[P, 2]: `known`, or else what `partialfc.data.pairs.identities.connected` makes of the images."""
        return connected(self.images, self.same) if self.known is None else self.known

    def fold_numbers(self, folds: int | None) -> int | np.ndarray:
        """What `verify` takes as folds. None: the list's own, or 10."""
        return fold_numbers(self, folds)


@dataclass(frozen=True, eq=False)
class VideoPairs:
    """P pairs of videos. frames [n]: encoded images, read when asked for; video v has those from starts[v]
    up to starts[v + 1]. videos [P, 2]: of each pair. The rest is as for PairSet.
    """

    frames: Sequence[bytes]
    starts: np.ndarray
    videos: np.ndarray
    same: np.ndarray
    known: np.ndarray | None = None
    folds: np.ndarray | None = None
    by_kind: bool = False

    def __post_init__(self) -> None:
        check_pairs(self.same, self.videos.size, "videos")

    @cached_property
    def identities(self) -> np.ndarray:
        """[P, 2]: `known`, or else what genuine pairs join."""
        numbers = self.videos.reshape(-1).tolist()
        return connected(numbers, self.same) if self.known is None else self.known

    def fold_numbers(self, folds: int | None) -> int | np.ndarray:
        """What `verify` takes as folds. None: the list's own, or 10."""
        return fold_numbers(self, folds)


def check_pairs(same: np.ndarray, count: int, what: str) -> None:
    """PairsError for flags that are no bool [P], or not as many as half of `count`."""
    if same.dtype != np.bool_ or same.ndim != 1:
        raise PairsError(
            f"same has dtype {same.dtype} and shape {same.shape}: it must be bool [P], one flag a pair"
        )
    if count != 2 * len(same):
        raise PairsError(f"{count} {what} for {len(same)} flags: a pair has two {what} and one flag")
    if not len(same):
        raise PairsError("no pairs: a verification set needs at least one")


def fold_numbers(pairs: PairSet | VideoPairs, folds: int | None) -> int | np.ndarray:
    """The number of folds, or [P] the fold of each pair. folds: as asked for; None: the list's own, or 10.

    Raises ValueError for so many that a fold has fewer than LEAST_OF_FOLD pairs.
    """
    if folds is not None and len(pairs.same) < least_pairs(folds):
        raise ValueError(
            f"folds is {folds}: it must be 2..{len(pairs.same) // LEAST_OF_FOLD}, so that each fold has at "
            f"least {LEAST_OF_FOLD} of the {len(pairs.same):,} pairs"
        )
    if folds is None and pairs.folds is not None:
        return pairs.folds
    return folds_by_kind(pairs.same, folds or FOLDS) if pairs.by_kind else folds or FOLDS


def least_pairs(folds: int | None) -> int:
    """How many pairs a set must have for the folds that were asked for; None: for the usual ones."""
    return FOLDS if folds is None else LEAST_OF_FOLD * folds


def require_images(pairs: PairSet | VideoPairs, *, max_pixels: int, part: range | None = None) -> None:
    """ImageError that names all images, or all of a part of them, that do not decode or claim more pixels.

    Of videos only the first frame of each is looked at: a set may have more than half a million.
    """
    if isinstance(pairs, VideoPairs):
        _require_first_frames(pairs, max_pixels)
        return
    part = range(len(pairs.images)) if part is None else part
    distinct = {id(pairs.images[index]): pairs.images[index] for index in part}  # most are in several pairs
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda image: problem(image, max_pixels=max_pixels), distinct.values())
        problems = dict(zip(distinct, found, strict=True))
    bad = [
        f"image {index} (pair {index // 2}): {error}"
        for index in part
        if (error := problems[id(pairs.images[index])]) is not None
    ]
    if bad:
        raise ImageError(listed(bad, len(pairs.images)))


def _require_first_frames(pairs: VideoPairs, max_pixels: int) -> None:
    first = pairs.starts[:-1].tolist()
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda frame: problem(pairs.frames[frame], max_pixels=max_pixels), first)
        bad = [
            f"frame {frame} (video {video}): {error}"
            for video, (frame, error) in enumerate(zip(first, found, strict=True))
            if error is not None
        ]
    if bad:
        raise ImageError(listed(bad, len(first)))


def read_pairs(path: str | Path, *, images: Path | None = None) -> PairSet:
    """The pairs of a `.bin` (InsightFace's layout), of a list, of CFP's folder, or of AgeDB's `.mat`.

    `.bin`: a pickle of `(2P encoded images, P flags)`, written by Python 2 or 3; nothing in it is run.
    List, a `.txt`, `.csv` or `.tsv`: a line `path_a path_b 1` for the same identity or `path_a path_b 0` for
    two, separated by tabs or commas (as in CSV, so that names may hold spaces) or else by blanks; or the
    layouts of `partialfc.data.pairs.published`. Empty lines and lines that start with `#` are skipped.
    Folder, `.mat`: as `partialfc.data.pairs.cfp` and `partialfc.data.pairs.agedb` say. images: where the
    images lie; None: paths are relative to the list's folder. Where genuine pairs have both images in one
    folder, and impostor pairs in two, the folders are the identities.

    Raises PairsError, which names the file and, in a list, the line.
    """
    found = read_pairs_or_videos(path, images=images)
    if isinstance(found, VideoPairs):
        raise PairsError(f"{path}: pairs of videos, which only a run, partialfc evaluate and compare take")
    return found


def read_pairs_or_videos(path: str | Path, *, images: Path | None = None) -> PairSet | VideoPairs:
    """As `read_pairs`; and YTF's list gives pairs of videos, folders of frames."""
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir():
        return _from_list(read_cfp(path), images or path.parents[1], path, elsewhere=images is not None)
    if suffix == ".mat":
        return _from_list(
            read_agedb(path), images or path.parent / IMAGES, path, elsewhere=images is not None
        )
    if suffix not in (".bin", *LIST_SUFFIXES):
        raise PairsError(
            f"{path}: pairs are read from .bin (InsightFace's layout), .mat (AgeDB's) or "
            f"{', '.join(LIST_SUFFIXES)} files, "
            f"not {suffix or 'a name without a suffix'}"
        )
    if suffix == ".bin" and images is not None:
        raise PairsError(f"{path}: a .bin has its images inside: leave --images out")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PairsError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        if suffix == ".bin":
            encoded, flags = parse_bin(data)
            return PairSet(encoded, np.array(flags, dtype=np.bool_))
        listed = parse_list(data)
    except PairsError as error:
        raise PairsError(f"{path}: {error}") from error
    return _from_list(listed, images or path.parent, path, elsewhere=images is not None)


def _from_list(listed: PairList, folder: Path, path: Path, *, elsewhere: bool) -> PairSet | VideoPairs:
    names = [name for pair in listed.pairs for name in (pair.first, pair.second)]
    same = np.array([pair.same for pair in listed.pairs], np.bool_)
    numbers = [pair.fold for pair in listed.pairs if pair.fold is not None]
    folds = np.array(numbers, np.int64) if numbers else None
    people = from_names([listed.person(name) for name in names])
    known = people if fits(people, same) else None
    try:
        if listed.videos:
            return _videos(listed, folder, same, known, folds)
        read: dict[str, bytes] = {}  # an image is usually part of several pairs
        for pair in listed.pairs:
            for name in (pair.first, pair.second):
                if name not in read:
                    read[name] = read_picture(folder, name, listed.where(pair), elsewhere=elsewhere)
        return PairSet([read[name] for name in names], same, known, folds, listed.by_kind)
    except PairsError as error:
        raise PairsError(f"{path}: {error}") from error


def _videos(
    listed: PairList, folder: Path, same: np.ndarray, known: np.ndarray | None, folds: np.ndarray | None
) -> VideoPairs:
    numbers: dict[str, int] = {}
    paths, starts = list[Path](), [0]
    for pair in listed.pairs:
        for name in (pair.first, pair.second):
            if name not in numbers:
                numbers[name] = len(numbers)
                paths += frames_of(folder, name, listed.where(pair))
                starts.append(len(paths))
    videos = np.array([[numbers[pair.first], numbers[pair.second]] for pair in listed.pairs], np.int64)
    return VideoPairs(Frames(paths), np.array(starts), videos.reshape(-1, 2), same, known, folds)


def write_pairs(path: str | Path, pairs: PairSet) -> None:
    """Write InsightFace's `.bin` layout, whole or not at all. Equal pairs give equal bytes."""
    path = Path(path)
    data = format_bin(pairs.images, pairs.same.tolist())
    with replacing(path) as beside:
        beside.write_bytes(data)
