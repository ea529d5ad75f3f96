"""Pickles read without trusting them: a pickle gets only what stands on a list.

The reader is the one of the standard library that is written in Python. Its twin in C reserves as many memo
slots as the pickle says, which is gigabytes for eight bytes of file.
"""

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn

from partialfc.errors import PartialFCError

Allowed = Mapping[tuple[str, str], object]


def load_allowed(data: bytes, allowed: Allowed, *, error: type[PartialFCError]) -> Any:
    """What the pickle holds. Where it names a (module, name), it gets `allowed[module, name]`.

    Nothing is imported. The pickle may call what it gets, with any arguments, and may set the state of
    instances of the classes among it: list only what can do no harm that way. Strings of Python 2 and
    bytearrays come as bytes. Raises `error` for any other name, which the message gives, and for a damaged
    pickle.
    """
    try:
        return _Unpickler(data, allowed, error).load()
    except error:
        raise
    except Exception as problem:  # a damaged pickle fails in a dozen ways, all of them the file's fault
        raise error(f"not a pickle, or a damaged or truncated one: {problem!r}") from problem


class _Stream(io.BytesIO):
    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n"):
            raise EOFError("the last line was cut short")  # otherwise half a name would be looked up
        return line


class _Unpickler(pickle._Unpickler):
    def __init__(self, data: bytes, allowed: Allowed, error: type[PartialFCError]) -> None:
        super().__init__(_Stream(data), encoding="bytes")
        self._allowed = allowed
        self._classes = {given for given in allowed.values() if isinstance(given, type)}
        self._error = error

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise self._error(
                f"the pickle asks for {module}.{name}, which such a file has no use for: loading it could "
                "run code; do not open this file with pickle"
            )
        return self._allowed[module, name]

    def get_extension(self, code: int) -> NoReturn:
        """The registry of short names would go around `find_class`."""
        raise self._error(f"the pickle asks for number {code} of the extension registry")

    def load_build(self: Any) -> None:
        """Set a state, but not of what the pickle was given: that belongs to the whole process."""
        kind = type(self.stack[-2])
        if kind not in self._classes:
            raise self._error(f"the pickle sets the state of a {kind.__name__}")
        pickle._Unpickler.dispatch[pickle.BUILD[0]](self)

    def load_bytearray8(self: Any) -> None:
        """The bytes that are there; the standard library's own reserves as many as the pickle says."""
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: load_build,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }
