"""Landmarks that were found before, by whatever program, in a CSV or JSON file.

CSV: a header, then a line for each face: the photo, and ten numbers x1, y1, .. x5, y5. A photo with several
faces has several lines, and one without numbers has none. A column named `score` is read, others are not.
JSON: an object with a list of faces for each photo. A face is five pairs [x, y], or an object with such
`landmarks` and perhaps a `score`.

A photo is named by its path below the folder of photos, with or without its suffix.
"""

import csv
import json
import math
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from partialfc.data.align.faces import Face
from partialfc.data.align.template import LANDMARKS
from partialfc.data.images.codec import SUFFIXES, Pixels
from partialfc.errors import DataError

_NUMBERS = 2 * LANDMARKS


class LandmarkFile:
    """Finds the faces that a file lists. DataError for a file that cannot be read."""

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self._rows: dict[str, list[int]] = {}  # of the faces of each photo
        numbers, scores = array("d"), array("d")  # as there may be millions, for each process
        for photo, face in _read(path):
            rows = self._rows.setdefault(PurePosixPath(photo.replace("\\", "/")).as_posix(), [])
            if face is not None:
                rows.append(len(scores))
                numbers.extend(face.landmarks.ravel())
                scores.append(np.nan if face.score is None else face.score)
        if not self._rows:
            raise DataError(f"{path}: lists no photo")
        self._landmarks = np.array(numbers).reshape(-1, LANDMARKS, 2)
        self._scores = np.array(scores)

    def __call__(self, photo: str, pixels: Pixels) -> list[Face]:
        rows = self._rows.get(self._name(photo), [])
        scores = (
            [None if math.isnan(score) else score for score in self._scores[rows].tolist()] if rows else []
        )
        return [Face(self._landmarks[row], score) for row, score in zip(rows, scores, strict=True)]

    def require_some(self, photos: Sequence[str], path: Path) -> int:
        """How many of the photos are not listed; DataError where none is."""
        missing = sum(self._name(photo) not in self._rows for photo in photos)
        if missing == len(photos):
            raise DataError(
                f"{path}: lists none of the {missing} photos: it has, for example, "
                f"{next(iter(self._rows))!r}, and the folder {photos[0]!r}; both must be paths below the "
                "folder of photos"
            )
        return missing

    def without_photo(self, photos: Sequence[str]) -> list[str]:
        """The names, in the order of the file, that are none of the photos'."""
        named = {self._name(photo) for photo in photos}
        return [name for name in self._rows if name not in named]

    def _name(self, photo: str) -> str:
        return photo if photo in self._rows else str(PurePosixPath(photo).with_suffix(""))


def _read(path: Path) -> Iterator[tuple[str, Face | None]]:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            if path.suffix.lower() == ".json":
                yield from _json(path, json.load(file))
            else:
                yield from _csv(path, file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, csv.Error) as error:
        raise DataError(f"{path}: neither CSV nor JSON with landmarks: {error}") from error


def _csv(path: Path, file: Iterator[str]) -> Iterator[tuple[str, Face | None]]:
    rows = csv.reader(file)
    header = [name.strip().lower() for name in next(rows, [])]
    if len(header) <= _NUMBERS or header[0].endswith(SUFFIXES):
        raise DataError(
            f"{path}: its first line must name the columns: the photo, then x1, y1, .. x{LANDMARKS}, "
            f"y{LANDMARKS}; it has {len(header)} fields"
        )
    score = header.index("score") if "score" in header else None
    for row in rows:
        if not row:
            continue
        fields = [field.strip() for field in row[1 : 1 + _NUMBERS]]
        if not any(fields):
            yield row[0].strip(), None
            continue
        place = f"{path}: line {rows.line_num}"
        sure = row[score] if score is not None and len(row) > score and row[score].strip() else None
        yield row[0].strip(), _face(fields, sure, f"{place}: {','.join(fields)[:120]}")


def _json(path: Path, document: Any) -> Iterator[tuple[str, Face | None]]:
    if not isinstance(document, dict):
        raise DataError(f"{path}: must be an object with a list of faces for each photo")
    for photo, faces in document.items():
        place = f"{path}: {photo!r}"
        if not isinstance(faces, list):
            raise DataError(f"{place}: must be a list of faces, is {json.dumps(faces)[:80]}")
        if not faces:
            yield photo, None
        for face in faces:
            known: dict[str, Any] = face if isinstance(face, dict) else {"landmarks": face}
            try:
                numbers = [number for point in known.get("landmarks", ()) for number in point]
            except TypeError:
                numbers = []
            yield photo, _face(numbers, known.get("score"), f"{place}: {json.dumps(face)[:120]}")


def _face(numbers: list[Any], score: Any, given: str) -> Face:
    """given: where it stands and what stands there, for an error."""
    try:
        landmarks = np.array(numbers, np.float64).reshape(LANDMARKS, 2)
        sure = None if score is None else float(score)
    except (TypeError, ValueError):
        landmarks, sure = np.array([np.nan]), None
    if not np.isfinite(landmarks).all():
        raise DataError(
            f"{given}: must be {LANDMARKS} landmarks, {_NUMBERS} finite numbers, and a score a number"
        )
    return Face(landmarks, sure)
