"""Parts of files that lie on this machine or behind a URL, by whatever fsspec can read."""

import glob
import io
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

from partialfc.data.sources.opened_file import OpenedFile, local_state
from partialfc.errors import ConfigError, DataError, MissingExtraError, installing

log = logging.getLogger(__name__)

T = TypeVar("T")

THREADS = 16  # that wait for answers behind URLs
AT_MOST_OPEN = 64  # files of a process
PAUSES = (0.5, 2.0, 8.0)  # seconds before a URL is tried again
GONE = (404, 410)  # HTTP's status
FOR_GOOD = (400, 401, 403, 405)
STREAMED = 1 << 22  # bytes that are asked for at once where a file is read from end to end
# What tells two versions of a remote file apart, by the names that file systems give it.
_STATES = (
    "size",
    "ETag",
    "etag",
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
    "generation",
    "created",
)
_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")


def is_url(place: str | Path) -> bool:
    return isinstance(place, str) and "://" in place


def is_pattern(place: str | Path) -> bool:
    """Whether it stands for several files; a local file whose name is just so does not."""
    name = str(place)
    several = _BRACES.search(name) is not None or _has_stars(name)
    return several and (is_url(name) or not Path(name).exists())


def expanded(place: str | Path) -> list[str]:
    """The files that a path or URL stands for: `{000..127}` and `{a,b}` in that order, then `*`, `?`, sorted.

    In a URL only `*` does. Raises DataError where a pattern with these fits no file.
    """
    if not is_pattern(place):
        return [str(place)]
    found = []
    for name in _without_braces(str(place)):
        if not _has_stars(name):
            found.append(name)
        elif files := _globbed(name):
            found += files
        else:
            raise DataError(f"{name}: no file fits this pattern")
    return found


class ByteFiles:
    """Files by their place in `names`, read at given bytes; each process that gets it opens them itself.

    states: what state_of said of each. At most 64 are open at a time. Reading behind a URL is tried four
    times. Raises DataError where that fails, where a file ends before, and where a local one is not what it
    was.
    """

    def __init__(self, names: Sequence[str], states: Sequence[str]) -> None:
        self.names = list(names)
        self._states = list(states)
        self._files: dict[int, OpenedFile] = {}  # the one that was used last is the last

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    def read(self, which: int, start: int, count: int) -> bytes:
        """So many bytes of file `which`, from `start` on."""
        name = self.names[which]
        data = _part(name, start, count) if is_url(name) else self._opened(which).read(start, count)
        if len(data) < count:
            raise DataError(f"{name}: ends before byte {start + count}: it was cut short or replaced")
        return data

    def state(self, which: int) -> str:
        """What state_of said of file `which`."""
        return self._states[which]

    def _opened(self, which: int) -> OpenedFile:
        file = self._files.pop(which, None)
        if file is None:
            file = OpenedFile(Path(self.names[which]))
            if file.state != self._states[which]:
                raise DataError(f"{file.path}: was changed while it was in use; start again")
        self._files[which] = file
        if len(self._files) > AT_MOST_OPEN:
            self._files.pop(next(iter(self._files))).close()
        return file


def state_of(name: str) -> str:
    """A text that another version of the file does not have, by its size, time and ETag."""
    if not is_url(name):
        try:
            return local_state(os.stat(name))
        except OSError as error:
            raise DataError(f"{name}: cannot be opened: {error.strerror}") from error

    info = _info(name)
    return json.dumps([[key, str(info[key])] for key in _STATES if info.get(key) is not None])


def suffix_of(place: str | Path) -> str:
    """Such as ".tar"; of a URL without its query."""
    name = str(place)
    return PurePosixPath(name.partition("?")[0] if "://" in name else name).suffix


def exists(url: str) -> bool:
    """Whether there is such a file; DataError where its server does not say."""

    def asked() -> bool:
        system, path = _system(url)
        try:
            system.info(path)
        except Exception as error:
            if _is_missing(_reason(error)):
                return False
            raise
        return True

    return _tried(url, asked)


def whole(url: str) -> bytes:
    """All bytes of a file behind a URL; DataError where it cannot be read."""

    def asked() -> bytes:
        system, path = _system(url)
        data: bytes = system.cat_file(path)
        return data

    return _tried(url, asked)


def streamed(name: str) -> IO[bytes]:
    """The file from its start on, for reading nearly all of it."""
    if not is_url(name):
        try:
            return Path(name).open("rb")
        except OSError as error:
            raise DataError(f"{name}: cannot be opened: {error.strerror}") from error

    return io.BufferedReader(_Remote(name), STREAMED)


class _Remote(io.RawIOBase):
    """A file behind a URL, each part of which is asked for as often as any other."""

    def __init__(self, url: str) -> None:
        super().__init__()
        size = _info(url).get("size")
        if size is None:
            raise DataError(f"{url}: its server does not say how large it is; copy it here")
        self._url, self._size, self._at = url, int(size), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._at))
        data = _part(self._url, self._at, count) if count else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _has_stars(name: str) -> bool:
    """In a URL a `?` is what stands before a query, and brackets may be an address's."""
    return "*" in name if is_url(name) else glob.has_magic(name)


def _without_braces(name: str) -> Iterator[str]:
    parts: list[Sequence[str]] = []
    end = 0
    for found in _BRACES.finditer(name):
        parts += [[name[end : found.start()]], _alternatives(found)]
        end = found.end()
    yield from map("".join, product(*parts, [name[end:]]))


def _alternatives(found: re.Match[str]) -> list[str]:
    first, last, listed = found.groups()
    if listed is not None:
        return str(listed).split(",")
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]


def _globbed(name: str) -> list[str]:
    if not is_url(name):
        return sorted(glob.glob(name))
    chain, link, inner = name.rpartition("::")

    def asked() -> list[str]:
        system, path = _system(inner)
        return [chain + link + system.unstrip_protocol(each) for each in sorted(system.glob(path))]

    return _tried(name, asked)


def _info(url: str) -> dict[str, Any]:
    def asked() -> dict[str, Any]:
        system, path = _system(url)
        info: dict[str, Any] = system.info(path)
        return info

    return _tried(url, asked)


def _part(url: str, start: int, count: int) -> bytes:
    """So many bytes, or fewer where the file ends before."""

    def asked() -> bytes:
        system, path = _system(url)
        data: bytes = system.cat_file(path, start=start, end=start + count)
        return data

    data = _tried(url, asked)
    if len(data) > count:
        raise ConfigError(  # of no record: none can be read
            f"{url}: its server gives whole files only, not parts of them; copy it here, or put "
            "simplecache:: before the URL, which does"
        )
    return data


def _system(name: str) -> tuple[Any, str]:
    """The file system of a URL, which fsspec keeps for each process, and the path there."""
    import fsspec

    found: tuple[Any, str] = fsspec.core.url_to_fs(name)
    return found


def _tried(name: str, action: Callable[[], T]) -> T:
    """The action's result, tried again where that may help; DataError, with the URL, where it fails."""
    for pause in (*PAUSES, None):
        try:
            return action()
        except ImportError as error:
            extra = f": {installing('http')}" if "aiohttp" in str(error) else ""
            raise MissingExtraError(f"{name}: {error}{extra}") from error
        except (PermissionError, ValueError) as error:
            raise DataError(f"{name}: {error}") from error
        except Exception as error:  # each file system has errors of its own
            reason = _reason(error)
            if _is_missing(reason):
                raise DataError(f"{name}: does not exist") from error
            if pause is None or getattr(reason, "status", None) in FOR_GOOD:
                tries = "" if pause is not None else f", tried {1 + len(PAUSES)} times"
                raise DataError(f"{name}: cannot be read: {_said(reason)}{tries}") from error
            log.warning("%s: %s; trying again", name, _said(reason))
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _reason(error: BaseException) -> BaseException:
    """fsspec says of a server that does not answer that the file was not found; the cause says why."""
    cause = error.__cause__
    of_network = type(cause).__module__.startswith("aiohttp") or isinstance(cause, TimeoutError)
    return cause if isinstance(error, FileNotFoundError) and cause is not None and of_network else error


def _is_missing(error: BaseException) -> bool:
    return isinstance(error, FileNotFoundError) or getattr(error, "status", None) in GONE


def _said(error: BaseException) -> str:
    status, message = getattr(error, "status", None), getattr(error, "message", "")
    return f"HTTP {status} {message}".strip() if status else f"{type(error).__name__}: {error}"
