"""Files and folders that nobody sees half written: made beside, put on the disk, renamed into place.

Where the output of a command is to go is looked at before any work is done, by one rule for all of them: a
file goes into a folder that exists; a folder is made where it is missing, with those above it. Either must
take files.
"""

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, TextIO

from partialfc.errors import ConfigError

OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors that only a file being written has
OF_DISKS = (*OF_WRITING, errno.EIO, errno.ESTALE)  # errors that only files have
BLOCK = 4096  # bytes, of which disks give files whole ones
UNITS = ("B", "kB", "MB", "GB", "TB")


def require_file(option: str, output: Path | None, *, suffix: str = "") -> None:
    """ConfigError unless `output` is None, or a file to write in a folder that exists and takes files."""
    if output is None:
        return
    if (suffix and output.suffix != suffix) or output.is_dir() or not output.parent.is_dir():
        kind = f"{suffix} file" if suffix else "file"
        raise ConfigError(f"{option} is {str(output)!r}; it must be a {kind} in a folder that exists")
    _require_room(output.parent, f"{option} is {str(output)!r}, but its folder")


def require_folder(option: str, output: Path | None) -> None:
    """ConfigError unless `output` is None, or a folder that takes files, or one that can be made."""
    if output is None:
        return
    there = next(each for each in (output, *output.absolute().parents) if os.path.lexists(each))
    if not there.is_dir():
        raise ConfigError(f"{option} is {str(output)!r}, but {there} is no folder; name one elsewhere")
    _require_room(there, f"{option} is {str(output)!r}, but {there}")


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
        if str(error.filename).startswith(str(beside)) or (
            error.filename is None and error.errno in OF_WRITING
        ):
            error.filename = str(path)  # which is the name that the user knows
        raise
    finally:
        remove(beside)


@contextmanager
def replacing_output(path: Path, what: str) -> Iterator[Path]:
    """As `replacing`, for a file that a user named; ConfigError where it cannot be written. what: it is."""
    try:
        with named(path), replacing(path) as beside:
            yield beside
    except OSError as error:
        raise ConfigError(
            f"cannot write the {what} {told(error)}; name a {path.suffix} file in a folder that you may write"
        ) from error


def put_in_place(beside: Path, path: Path) -> None:
    """Rename a file or folder to `path`, whose old content goes; both are on the disk when this returns."""
    for part in (*beside.rglob("*"), beside):
        sync(part)
    if beside.is_dir() and path.is_dir():  # which a rename would not replace
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        path.rename(old)
        beside.rename(path)
        remove(old)
    else:
        beside.replace(path)
    sync(path.parent)


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new."""
    with replacing(path) as beside:
        beside.write_text(text)


def json_text(document: Any, **layout: Any) -> str:
    """JSON that every reader takes: null for a number that is not finite. layout: as for json.dumps."""
    return json.dumps(_finite(document), allow_nan=False, **layout)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Inside, an error of an open file, which knows no name, gets that of the file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the time of the block. An error of its full disk names it, and says what to do."""
    with TemporaryDirectory() as folder:
        try:
            yield Path(folder)
        except OSError as error:
            if error.errno in OF_WRITING and str(error.filename or folder).startswith(folder):
                reason = f"{error.strerror}: set TMPDIR to a folder with more room for what is temporary"
                raise OSError(error.errno, reason, folder) from error
            raise


def lock(file: int) -> bool:
    """Have an open file alone until it is closed; False where another process has it.

    True also on a file system without locks.
    """
    import fcntl  # which not every system has

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def write_at(file: int, data: bytes, offset: int) -> None:
    """All of the data, at a place in an open file: one call of the system may take a part."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def sync(path: Path) -> None:
    """Put a file's content, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def discard(stream: TextIO) -> None:
    """Let what is written to a standard stream go nowhere: its reader is gone, or its disk full.

    What it still holds would fail once more when Python ends, and change the exit status.
    """
    with suppress(OSError, ValueError):  # not a stream of the system
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def remove(path: Path) -> None:
    """Delete a file, a link, or a folder with all that is in it, as far as that can be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def told(error: OSError) -> str:
    """What went wrong with a file, for a message: its name, why, and on a full disk how much is free."""
    reason = error.strerror or str(error)
    if error.filename is None:
        return reason
    says = f"{os.fsdecode(error.filename)}: {reason}"
    return f"{says} ({_free(Path(os.fsdecode(error.filename)))})" if error.errno == errno.ENOSPC else says


def show_size(count: float) -> str:
    """A number of bytes for people: 1.5 GB."""
    for unit in UNITS[:-1]:
        if count < 999.5:  # 999.7 would be shown as 1e+03
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} {UNITS[-1]}"


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {key: _finite(part) for key, part in value.items()}
        case list() | tuple():
            return [_finite(part) for part in value]
    return value


def _free(path: Path) -> str:
    """What is left on the disk of a file that may not be there."""
    room = free_bytes(path)
    return "the disk takes no more files" if room is None else f"{show_size(room)} free"


def free_bytes(path: Path) -> int | None:
    """The bytes that are left on the disk of a file that may not be there; None where no more files fit."""
    folder = next(each for each in path.absolute().parents if each.is_dir())
    disk = os.statvfs(folder)
    return None if disk.f_files and not disk.f_favail else disk.f_bavail * disk.f_frsize


def at_least(estimate: int, error: OSError, path: Path) -> int:
    """The bytes that a write to `path` takes, which an error ended: on a full disk more than are free."""
    room = free_bytes(path) if error.errno == errno.ENOSPC else None
    return estimate if room is None else max(estimate, room + BLOCK)


def _require_room(folder: Path, says: str) -> None:
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"{says} takes no file: {error.strerror}; name one elsewhere") from error
