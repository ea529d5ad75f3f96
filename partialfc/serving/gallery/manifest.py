"""The file that says what a gallery consists of: whoever reads it sees the state before a change or after.

A change writes new files, then replaces `gallery.json`, then deletes files that it no longer names.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from partialfc.errors import ConfigError, DataError
from partialfc.files import json_text, lock, remove, write_whole
from partialfc.serving.card import Card

MANIFEST, LOCK = "gallery.json", "lock"
ROWS = "embeddings-"  # how files of embeddings begin that are not in a gallery yet
FORMAT = 1
NUMBERED = re.compile(r"(?:rows|scales|names|faiss|changes)-(\d+)\.\w+")

Storage = Literal["float32", "float16", "int8"]


@dataclass(frozen=True, slots=True)
class Part:
    """A segment: the number in its files' names, and how many rows it has."""

    number: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """storage: of rows. mean: whether a row is a class's mean. model: where the card's model lay.

    faiss: the factory string of a faiss index that searches it, and faiss_part the number of its file.
    log: the number of the file with the changes since the parts were written, if there is one. following: the
    number of the next file.
    """

    card: Card
    model: str
    storage: Storage
    mean: bool
    parts: tuple[Part, ...] = ()
    faiss: str | None = None
    faiss_part: int | None = None
    log: int | None = None
    following: int = 1

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


def read_manifest(folder: Path) -> Manifest:
    """What a gallery consists of. Raises DataError where the folder is none, or its file is damaged."""
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{folder} is no gallery, it has no {MANIFEST}: make one with partialfc gallery build"
        ) from error
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise DataError(f"{path}: its format is {document['format']!r}; this version reads {FORMAT}")
        found = Manifest(
            card=Card.from_json(json.dumps(document["card"]), origin=str(path)),
            model=str(document["model"]),
            storage=_storage(document["storage"]),
            mean=bool(document["mean"]),
            parts=tuple(Part(int(each["number"]), int(each["rows"])) for each in document["parts"]),
            faiss=None if document["faiss"] is None else str(document["faiss"]),
            faiss_part=_number(document["faiss_part"]),
            log=_number(document.get("log")),
            following=int(document["following"]),
        )
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: is damaged: {error!r}") from error
    return found


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Let a gallery consist of these files, and delete all others of its own."""
    document: dict[str, Any] = {"format": FORMAT, **asdict(manifest)}
    document["card"] = json.loads(manifest.card.to_json())
    write_whole(folder / MANIFEST, json_text(document, indent=2) + "\n")
    tidy(folder, manifest)
    forget_rows(folder)


def forget_rows(folder: Path, but: str = "") -> None:
    """Delete the embeddings that a change was to bring into the gallery, those in the file `but` excepted."""
    for path in folder.iterdir():
        name = path.name.removeprefix(".")
        if name.startswith(ROWS) and not (but and name.startswith(but)):
            remove(path)


def tidy(folder: Path, manifest: Manifest | None) -> None:
    """Delete the files that a gallery no longer consists of, and what a killed process left."""
    kept = (
        {manifest.faiss_part, manifest.log, *(part.number for part in manifest.parts)} if manifest else set()
    )
    for path in folder.iterdir():
        numbered = NUMBERED.fullmatch(path.name)
        if (numbered and int(numbered[1]) not in kept) or path.name.startswith(f".{MANIFEST}."):
            remove(path)


def require_model(folder: Path, of_gallery: Card, given: Card) -> None:
    """Raises ConfigError unless a model's embeddings may be compared with those of the gallery."""
    if given.identity != of_gallery.identity:
        raise ConfigError(
            f"{folder} has embeddings of {of_gallery.name} ({of_gallery.identity[:8]}), and those of "
            f"{given.name} ({given.identity[:8]}) cannot be compared with them: take that model, or build a "
            "gallery with this one"
        )


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Inside, no other process changes the gallery, and what fails leaves none of its files.

    Raises ConfigError where one does now.
    """
    file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not lock(file):
            raise ConfigError(
                f"{folder}: another process is changing it, or serves it with a token; try again later, or "
                "change it over HTTP"
            )
        try:
            yield
        except BaseException:
            _undo(folder)
            raise
    finally:
        os.close(file)


def _undo(folder: Path) -> None:
    """Delete what was written and is in no gallery, but for the embeddings that the next try goes on from."""
    there = (folder / MANIFEST).exists()
    with suppress(DataError, OSError):
        tidy(folder, read_manifest(folder) if there else None)
    if [each.name for each in folder.iterdir()] == [LOCK]:
        remove(folder / LOCK)


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _storage(value: object) -> Storage:
    for each in get_args(Storage):
        if value == each:
            found: Storage = each
            return found
    raise ValueError(f"storage is {value!r}")
