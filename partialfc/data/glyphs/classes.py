"""Which characters become classes, and which faces draw each one: decided by comparing pictures."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from partialfc.data.glyphs.fonts import MISSING, Face, Pen
from partialfc.data.glyphs.pictures import (
    MAX_DIFFERENCE,
    MEAN_DIFFERENCE,
    SIGNATURE_SIDE,
    same_picture,
    signature,
)

SIDE = 4 * SIGNATURE_SIDE
BLOCK = 256  # signatures that are compared with their neighbours at once
PLACEHOLDER_CHARACTERS = 32  # a picture that more characters of a face share stands for none of them

ShowProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Survey:
    """What the faces draw.

    pictures: code point -> {face number: picture number}, in ascending order.
    signatures [P, F]: each different picture once; its row is the picture's number.
    mapped: how many characters the faces map, drawn or not.
    dropped: counts by reason; the last word is the unit.
    """

    pictures: dict[int, dict[int, int]]
    signatures: NDArray[np.uint8]
    mapped: int
    dropped: Counter[str]


def survey(faces: Sequence[Face], *, min_faces: int, progress: ShowProgress) -> Survey:
    """Draw each character that enough faces map; drop blanks, and boxes that stand for a missing glyph."""
    mapped = Counter(code for face in faces for code in face.glyphs)
    numbers: dict[bytes, int] = {}  # signature -> picture number
    pictures: dict[int, dict[int, int]] = defaultdict(dict)
    dropped: Counter[str] = Counter()
    for _, collection in groupby(enumerate(faces), key=lambda item: item[1].path):
        drawn: dict[tuple[int, int], int | None] = {}  # faces of a collection share most outlines
        for number, face in collection:
            pen = Pen(face)
            own: dict[int, int | None] = {}
            for code, glyph in face.glyphs.items():
                if mapped[code] < min_faces:
                    continue
                key = face.outlines, glyph
                if key not in drawn:
                    drawn[key] = _picture(pen, glyph, numbers)
                own[code] = drawn[key]
            for code, picture in _meaningful(own, _picture(pen, MISSING, numbers), dropped).items():
                pictures[code][number] = picture
            progress("surveying faces", number + 1, len(faces))
    signatures = np.frombuffer(b"".join(numbers), np.uint8).reshape(-1, SIGNATURE_SIDE**2)
    return Survey(dict(sorted(pictures.items())), signatures, len(mapped), dropped)


def _picture(pen: Pen, glyph: int, numbers: dict[bytes, int]) -> int | None:
    ink = pen.ink(glyph, side=SIDE)
    return None if ink is None else numbers.setdefault(signature(ink).tobytes(), len(numbers))


def _meaningful(own: dict[int, int | None], missing: int | None, dropped: Counter[str]) -> dict[int, int]:
    """One face's code point -> picture number, without blanks and placeholders; counts those."""
    inked = {code: picture for code, picture in own.items() if picture is not None}
    real = {code: picture for code, picture in inked.items() if picture != missing}
    sharing = Counter(real.values())
    kept = {code: picture for code, picture in real.items() if sharing[picture] <= PLACEHOLDER_CHARACTERS}
    dropped["empty glyphs"] += len(own) - len(inked)
    dropped["missing-character glyphs"] += len(inked) - len(real)
    if 2 * len(kept) < len(real):  # a last-resort font: what is left are placeholders of smaller blocks
        dropped["placeholder faces"] += 1
        kept = {}
    dropped["placeholder glyphs"] += len(real) - len(kept)
    return kept


def choose_classes(found: Survey, *, min_faces: int) -> tuple[dict[int, list[int]], Counter[str]]:
    """Code point -> the faces whose pictures of it all differ, at least min_faces; and counts of the dropped.

    Of characters that look the same in most of the faces they share, the lowest code point stays.
    """
    dropped = Counter(found.dropped)
    classes: dict[int, list[int]] = {}
    for code, pictures in found.pictures.items():
        faces = _different(pictures, found.signatures)
        dropped["duplicate glyphs"] += len(pictures) - len(faces)
        if len(faces) >= min_faces:
            classes[code] = faces
    dropped["rare characters"] = found.mapped - len(classes)
    doubles = _doubles({code: found.pictures[code] for code in classes}, found.signatures)
    dropped["look-alike characters"] = len(doubles)
    return {code: faces for code, faces in classes.items() if code not in doubles}, dropped


def _different(pictures: dict[int, int], signatures: NDArray[np.uint8]) -> list[int]:
    """The faces whose picture equals none of an earlier face that was kept."""
    faces = sorted({picture: face for face, picture in reversed(pictures.items())}.values())
    drawn = signatures[[pictures[face] for face in faces]]
    same = same_picture(drawn[:, None], drawn[None])
    kept: list[int] = []
    for index in range(len(faces)):
        if not same[index, kept].any():
            kept.append(index)
    return [faces[index] for index in kept]


def _doubles(characters: dict[int, dict[int, int]], signatures: NDArray[np.uint8]) -> set[int]:
    """The code points that look like a lower one."""
    drawn: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for code, pictures in characters.items():
        for face, picture in pictures.items():
            drawn[face].append((code, picture))
    alike: Counter[tuple[int, int]] = Counter()
    for pairs in drawn.values():
        codes, pictures_of = zip(*pairs, strict=True)
        for first, second in same_pairs(signatures[list(pictures_of)]):
            alike[min(codes[first], codes[second]), max(codes[first], codes[second])] += 1

    lowest = {code: code for code in characters}

    def find(code: int) -> int:
        while lowest[code] != code:
            code = lowest[code]
        return code

    for (first, second), faces in alike.items():
        if 2 * faces > len(characters[first].keys() & characters[second].keys()):
            low, high = sorted((find(first), find(second)))
            lowest[high] = low
    return {code for code in characters if find(code) != code}


def same_pairs(signatures: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """signatures [N, F] -> every pair of rows that are the same picture, once.

    Rows of the same picture have nearly the same mean, so that rows sorted by their mean are compared with a
    few neighbours only. The two limits of `same_picture` also bound the squared distance of such rows, and
    a matrix product gives that for many at once.
    """
    means = signatures.mean(1, dtype=np.float64)
    order = np.argsort(means, kind="stable")
    stops = np.searchsorted(means[order], means[order] + MEAN_DIFFERENCE, side="right")
    rows = signatures[order].astype(np.float32)
    squares = (rows * rows).sum(1)
    bound = 1.01 * MAX_DIFFERENCE * MEAN_DIFFERENCE * rows.shape[1]  # 1.01: float32 rounds
    for start in range(0, len(rows), BLOCK):
        stop = min(start + BLOCK, len(rows))
        end = stops[stop - 1]
        products = rows[start:stop] @ rows[start:end].T
        near = squares[start:stop, None] + squares[start:end] - 2 * products <= bound
        first, second = np.nonzero(np.triu(near, 1))
        first, second = order[start + first], order[start + second]
        same = same_picture(signatures[first], signatures[second])
        yield from zip(first[same].tolist(), second[same].tolist(), strict=True)
