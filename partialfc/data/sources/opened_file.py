"""A file that is read at given places, by each process that gets it."""

import os
import weakref
from pathlib import Path

from partialfc.errors import DataError


class OpenedFile:
    """A file whose content must not change; opened on first use, left out of a pickle, sound after a fork.

    Raises DataError where it cannot be opened or read, or is not what it was when this object was made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, weakref.finalize[..., OpenedFile]] | None = None
        self.state: str | None = None
        self.state = local_state(os.fstat(self._descriptor))

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": None}

    def read(self, start: int, count: int) -> bytes:
        """So many bytes from `start` on; fewer where the file ends before."""
        try:
            return os.pread(self._descriptor, count, start)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        if self._opened is not None:
            self._opened[1]()
            self._opened = None

    @property
    def _descriptor(self) -> int:
        if self._opened is None:
            try:
                descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise DataError(f"{self.path}: cannot be opened: {error.strerror}") from error
            self._opened = descriptor, weakref.finalize(self, os.close, descriptor)
            if self.state is not None and local_state(os.fstat(descriptor)) != self.state:
                self.close()
                raise DataError(f"{self.path}: was changed while it was in use; start again")
        return self._opened[0]


def state_of_path(path: str | Path) -> str:
    """As `local_state`; "" for a file that is not there."""
    try:
        return local_state(os.stat(path))
    except OSError:
        return ""


def local_state(found: os.stat_result) -> str:
    """A text that another version of the file does not have: its size, and when it was last changed."""
    return f"{found.st_size} {found.st_mtime_ns}"
