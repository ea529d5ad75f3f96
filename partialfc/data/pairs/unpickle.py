"""Unpickle verification sets without trusting them: plain data only, nothing in the file is ever called.

Two gates. The opcodes are scanned first: what could reach past plain data (persistent ids, the extension
registry, out-of-band buffers, dicts and sets) is refused before anything is built, and so are lengths that
the file does not have and memo indices that would make the unpickler allocate gigabytes. Then the standard
unpickler runs with stand-ins of our own for the few NumPy globals that such files use; they check what the
pickle says in Python, so that NumPy itself never sees an unchecked state.
"""

import io
import pickle
import pickletools
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

# What may build an object only builds what find_class hands out: a stand-in, or an error naming the global.
_ADMITTED_OPCODES = re.compile(
    r"""
    PROTO | FRAME | STOP | MARK | POP | POP_MARK | DUP
    | NONE | NEWTRUE | NEWFALSE | INT | BININT[12]? | LONG[14]?
    | STRING | (SHORT_)?BINSTRING | (SHORT_)?BINBYTES | BINBYTES8 | BYTEARRAY8
    | UNICODE | (SHORT_)?BINUNICODE | BINUNICODE8
    | EMPTY_LIST | LIST | APPENDS? | EMPTY_TUPLE | TUPLE[123]?
    | (LONG_)?(BIN)?(PUT|GET) | MEMOIZE
    | (STACK_)?GLOBAL | INST | OBJ | NEWOBJ | REDUCE | BUILD
    """,
    re.VERBOSE,
)
_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
_DTYPE_CODES = frozenset({"b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"})


def load_plain(data: bytes) -> object:
    """Pickle bytes -> lists, tuples, bytes, str, bools, ints and `PlainArray`s, nested as in the file.

    Python 2's strings come as bytes, NumPy's scalars as Python bools and ints. Raises
    `pickle.UnpicklingError`, and only that, for anything else and for a damaged pickle.
    """
    _check_opcodes(data)
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="bytes").load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle fails in a dozen ways, all of them the file's fault
        raise pickle.UnpicklingError(f"damaged pickle: {error}") from error


class PlainArray:
    """A one-dimensional NumPy array of bools or integers: `values` [n], read-only."""

    __slots__ = ("values",)

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), tuple() as shape, _DType() as dtype, _, bytes() | str() as data):
                self.values = _array(_latin1(data), dtype, shape)
            case _:
                _refuse("a NumPy array other than one-dimensional plain data")


def _check_opcodes(data: bytes) -> None:
    try:
        for count, (opcode, argument, position) in enumerate(_opcodes(io.BytesIO(data))):
            if not _ADMITTED_OPCODES.fullmatch(opcode):
                _refuse(f"opcode {opcode} at byte {position}")
            # Picklers number the memo upwards; the unpickler allocates as many slots as the index says.
            if opcode.endswith("PUT") and argument > count:
                _refuse(f"memo index {argument} at byte {position}")
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # the readers raise ValueError mostly; the text ones bring their own
        raise pickle.UnpicklingError(f"not a pickle, or a damaged or truncated one: {error}") from error


def _opcodes(stream: io.BytesIO) -> Iterator[tuple[str, Any, int]]:
    """(name, argument, position) up to STOP, as pickletools.genops, which trips over Python 2's STRING."""
    while True:
        position = stream.tell()
        code = stream.read(1)
        opcode = _OPCODES.get(code)
        if opcode is None:
            raise ValueError(f"at byte {position}, opcode {code!r} unknown" if code else "no STOP at its end")
        if opcode.name == "STRING":
            argument: Any = stream.readline()
        else:
            argument = opcode.arg.reader(stream) if opcode.arg else None
        yield opcode.name, argument, position
        if opcode.name == "STOP":
            return


def _refuse(what: str) -> NoReturn:
    raise pickle.UnpicklingError(
        f"the pickle holds {what}; only lists, tuples, bytes, bools, integers and NumPy's are admitted"
    )


def _latin1(value: bytes | bytearray | str) -> bytes:
    """Python 3 reads Python 2's bytes as latin-1 text, and writes bytes as such in protocols 0 to 2."""
    return value.encode("latin-1") if isinstance(value, str) else bytes(value)


class _DType:
    """What the pickle says of a NumPy dtype."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "="

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), bytes() | str() as order, *_) if _latin1(order) in (b"<", b">", b"=", b"|"):
                self.order = _latin1(order).decode("ascii")
            case _:
                _refuse("a NumPy dtype other than a bool or an integer")

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


def _array(data: bytes, dtype: _DType, shape: tuple[object, ...]) -> np.ndarray:
    values = np.frombuffer(data, dtype.numpy())
    if shape != (len(values),):
        _refuse(f"a NumPy array of shape {shape} with {len(values)} elements")
    return values


def _make_dtype(*args: object) -> _DType:
    match args:
        case (bytes() | str() as code, *_) if (name := _latin1(code).decode("latin-1")) in _DTYPE_CODES:
            return _DType(name)
        case (bytes() | str() as code, *_):
            _refuse(f"NumPy data of type {code!r}")
        case _:
            _refuse("a NumPy dtype other than a bool or an integer")


def _make_scalar(*args: object) -> bool | int:
    match args:
        case (_DType() as dtype, bytes() | str() as data):
            value: bool | int = _array(_latin1(data), dtype, (1,))[0].item()
            return value
        case _:
            _refuse("a NumPy scalar other than a bool or an integer")


def _make_empty(*_: object) -> PlainArray:
    """`_reconstruct`: the state that follows fills it."""
    return PlainArray(np.empty(0, np.uint8))


def _make_from_buffer(*args: object) -> PlainArray:
    match args:
        case (bytes() | bytearray() as data, _DType() as dtype, tuple() as shape, *_):
            return PlainArray(_array(bytes(data), dtype, shape))
        case _:
            _refuse("a NumPy array other than one-dimensional plain data")


def _encode(*args: object) -> bytes:
    """`_codecs.encode`: how Python 3 writes bytes in protocols 0 to 2."""
    match args:
        case (str() as text, "latin1" | b"latin1"):
            return _latin1(text)
        case _:
            _refuse("text in an encoding other than latin1")


def _never_called(*_: object) -> NoReturn:
    _refuse("a NumPy array made by calling its class")


class _StandIn:
    """The only kind of global that a pickle gets hold of: callable, not a class, and closed to BUILD."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., object]) -> None:
        self._make = make

    def __call__(self, *args: object) -> object:
        return self._make(*args)

    def __setstate__(self, state: object) -> NoReturn:
        _refuse("a state for a function")


_GLOBALS = {
    ("_codecs", "encode"): _StandIn(_encode),
    ("numpy", "dtype"): _StandIn(_make_dtype),
    ("numpy", "ndarray"): _StandIn(_never_called),
}
for _core in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    _GLOBALS[f"{_core}.multiarray", "_reconstruct"] = _StandIn(_make_empty)
    _GLOBALS[f"{_core}.multiarray", "scalar"] = _StandIn(_make_scalar)
    _GLOBALS[f"{_core}.numeric", "_frombuffer"] = _StandIn(_make_from_buffer)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> _StandIn:
        try:
            return _GLOBALS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"the pickle asks for {module}.{name}, which a verification set has no use for: "
                "loading it could run code; do not open this file with pickle"
            ) from None
