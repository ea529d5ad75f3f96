"""What became of each photo, written as it happens: `align.csv`, a line for each crop, or photo without one.

Its first columns are those of a file of landmarks (partialfc.data.align.landmark_file).
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from partialfc.data.align.photo import Aligned, Crop
from partialfc.data.align.template import LANDMARKS
from partialfc.data.sources.keys import as_key
from partialfc.errors import DataError
from partialfc.files import replacing

NAME = "align.csv"
_POINTS = [f"{axis}{number}" for number in range(1, LANDMARKS + 1) for axis in "xy"]
COLUMNS = ["photo", *_POINTS, "score", "outcome", "faces", "crop", "misfit", "message"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of a photo, by its key, and the names of its crops."""

    photo: str
    outcome: str
    crops: tuple[str, ...]
    text: str  # its lines


def entry(photo: str, aligned: Aligned, names: tuple[str, ...]) -> Entry:
    """names: of the crops, in their order."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    crops: list[tuple[Crop | None, str]] = list(zip(aligned.crops, names, strict=True)) or [(None, "")]
    for crop, name in crops:
        face = crop.face if crop else None
        points = (
            [""] * len(_POINTS) if face is None else [f"{number:.4f}" for number in face.landmarks.ravel()]
        )
        score = "" if face is None or face.score is None else f"{face.score:.4f}"
        misfit = "" if crop is None or crop.misfit is None else f"{crop.misfit:.3f}"
        message = " ".join(aligned.message.split())
        writer.writerow(
            [as_key(photo), *points, score, aligned.outcome, aligned.faces, as_key(name), misfit, message]
        )
    return Entry(as_key(photo), aligned.outcome, names, lines.getvalue())


def read(path: Path) -> Iterator[Entry]:
    """The entries of a journal whose end may be cut; DataError where it is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    lines = text[: text.rfind("\n") + 1].splitlines(keepends=True)
    if not lines or lines[0].strip() != ",".join(COLUMNS):
        raise DataError(f"{path}: was not written by `partialfc data align`; name another folder")
    place = {name: number for number, name in enumerate(COLUMNS)}
    found: list[tuple[list[str], str]] = []
    for line in lines[1:]:
        (fields,) = csv.reader([line])
        if found and fields[0] != found[0][0][0]:
            yield _entry(found, place)
            found = []
        found.append((fields, line))
    if found:
        yield _entry(found, place)


def _entry(found: list[tuple[list[str], str]], place: dict[str, int]) -> Entry:
    crops = tuple(fields[place["crop"]] for fields, _ in found if fields[place["crop"]])
    (first, _), text = found[0], "".join(line for _, line in found)
    return Entry(first[0], first[place["outcome"]], crops, text)


def begin(path: Path, entries: list[Entry]) -> IO[str]:
    """A journal that has these entries already, to write more of them into."""
    with replacing(path) as beside:
        text = ",".join(COLUMNS) + "\n" + "".join(each.text for each in entries)
        beside.write_text(text, encoding="utf-8", errors="surrogateescape")
    return path.open("a", encoding="utf-8", errors="surrogateescape")
