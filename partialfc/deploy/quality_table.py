"""The table of images and their quality: CSV or JSON, to a file or to the output."""

import csv
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from partialfc.data.sources.labelled import Labelled
from partialfc.files import json_text, replacing

FIELDS = ("image", "class", "quality")


def write_qualities(
    source: Labelled, qualities: Iterable[float], *, by: str, output: Path | None, as_json: bool
) -> None:
    """A row for each image, in the order of the source; output None: to stdout, row by row.

    CSV with a header line, or one JSON object with the keys by and images. A class is its name, or its id
    where the source has no names.
    """
    with _opened(output) as file:
        if as_json:
            rows = [dict(zip(FIELDS, row, strict=True)) for row in _rows(source, qualities)]
            file.write(json_text({"by": by, "images": rows}) + "\n")
        else:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(FIELDS)
            table.writerows(_rows(source, qualities))


def _rows(source: Labelled, qualities: Iterable[float]) -> Iterator[tuple[Any, ...]]:
    names = source.classes
    ids = source.class_ids().tolist()
    for index, (class_id, quality) in enumerate(zip(ids, qualities, strict=True)):
        yield source.name(index), class_id if names is None else names[class_id], float(f"{quality:.7g}")


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with replacing(output) as beside, beside.open("w", newline="") as file:
        yield file
