"""Files and folders that nobody sees half written: made beside, put on the disk, renamed into place."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path`; the file or folder that the block makes there takes the place of `path`.

    A reader sees the old content or the new one, also after a power cut. A block that ends in an error leaves
    `path` as it was, and nothing beside it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield beside
        put_in_place(beside, path)
    except OSError as error:
        if error.filename == str(beside):
            error.filename = str(path)  # which is the name that the user knows
        raise
    finally:
        _remove(beside)


def put_in_place(beside: Path, path: Path) -> None:
    """Rename a file or folder to `path`, whose old content goes; both are on the disk when this returns."""
    for part in (*beside.rglob("*"), beside):
        sync(part)
    if beside.is_dir() and path.is_dir():  # which a rename would not replace
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        path.rename(old)
        beside.rename(path)
        _remove(old)
    else:
        beside.replace(path)
    sync(path.parent)


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new."""
    with replacing(path) as beside:
        beside.write_text(text)


def sync(path: Path) -> None:
    """Put a file's content, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
