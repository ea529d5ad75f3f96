"""InsightFace's `.bin` file: a pickle of (2P encoded images, P flags), by Python 2 or 3 and NumPy 1 or 2.

NumPy's own functions are not among what the pickle gets: with a dtype whose state lies, they take bytes of
the file for addresses in memory. What it asks of NumPy is noted while it is read, and looked at afterwards.
"""

import contextlib
import math
import pickle
import re
from collections.abc import Sequence

import numpy as np

from partialfc.errors import PairsError
from partialfc.unpickling import load_allowed

_PLAIN_DTYPE = re.compile(rb"[<>=|](b1|[iu][1248])")  # byte order, kind and size of bools and integers
_DTYPE = re.compile(rb"[<>=|]?([a-zA-Z])(\d*)")
_BYTES = re.compile(rb"\|S[1-9]\d{0,8}")  # byte strings, all of the same size
_RAW = re.compile(rb"\|[SV]\d+")  # a byte string alone, and bytes without a meaning
_OBJECTS = (b"|O", b"|O8", b"|O4")
_KINDS = {  # NumPy's letters, and whether a size in bits belongs to the name
    b"i": ("int", True),
    b"u": ("uint", True),
    b"f": ("float", True),
    b"c": ("complex", True),
    b"S": ("bytes", False),
    b"U": ("str", False),
    b"O": ("object", False),
    b"V": ("void", False),
    b"M": ("datetime64", False),
    b"m": ("timedelta64", False),
}

REMEDY = "write a list of the bytes of JPEG or PNG files"


class _Noted:
    """A call that the pickle asks for, not made: its arguments, and the state to set on what it returns."""

    arguments: tuple[object, ...] = ()
    state: object = None

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __setstate__(self, state: object) -> None:
        self.state = state


class _NotedBytearray(_Noted):
    """A bytearray, as protocols 0 to 4 call it."""


_ALLOWED = dict.fromkeys(
    (("builtins", "bytearray"), ("__builtin__", "bytearray")), _NotedBytearray
) | dict.fromkeys(
    (
        ("_codecs", "encode"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        *(
            (f"{core}.{module}", name)
            for core in ("numpy.core", "numpy._core")  # before and since NumPy 2
            for module, name in (
                ("multiarray", "_reconstruct"),
                ("multiarray", "scalar"),
                ("numeric", "_frombuffer"),
            )
        ),
    ),
    _Noted,
)


def parse_bin(data: bytes) -> tuple[list[bytes], list[bool]]:
    """A file's content -> 2P encoded images, and P flags: True for the same identity. Raises PairsError."""
    stored = load_allowed(data, _ALLOWED, error=PairsError)
    try:
        match stored:
            case (list() | tuple() | _Noted() as images, flags):
                return _images(_listed(images, "the images"), room=len(data)), _flags(flags)
            case _:
                raise PairsError(
                    f"the pickle is {_kind(stored)}: it must be two lists, of encoded images and of flags"
                )
    except PairsError:
        raise
    except Exception as error:  # a number too large to be shown, a nesting too deep: the file's fault too
        raise PairsError(f"damaged pickle: {error}") from error


def format_bin(images: Sequence[bytes], same: Sequence[bool]) -> bytes:
    """The content of a file that other trainers read as well; equal pairs give equal bytes."""
    # Pickle stores an object once however often it is listed, by identity: make that go by content.
    unique: dict[bytes, bytes] = {}
    stored = [unique.setdefault(image, image) for image in map(bytes, images)]
    return pickle.dumps((stored, list(same)), protocol=4)


def _listed(stored: object, what: str) -> object:
    """The elements of an array [n] of objects or byte strings; anything else as it is. what: for messages."""
    match _parts(stored):
        case (dtype, shape, data) if (name := _code(dtype)) in _OBJECTS or _BYTES.fullmatch(name):
            elements = data if name in _OBJECTS else _byte_strings(data, int(name[2:]), what)
            match shape:
                case tuple() if isinstance(elements, list) and math.prod(shape) == len(elements):
                    if max(shape, default=0) == len(elements):
                        return elements
            raise PairsError(
                f"{what} are a NumPy array {_dtype_name(name)} {shape}: they must be a list; {REMEDY}"
            )
    return stored


def _byte_strings(data: object, size: int, what: str) -> list[bytes]:
    """NumPy fills byte strings of an array with zeros to one size, and strips them when it gives one out."""
    raw = _bytes(_plain(data, what)) or b""
    return [raw[start : start + size].rstrip(b"\0") for start in range(0, len(raw), size)]


def _images(stored: object, *, room: int) -> list[bytes]:
    """Each object that is listed becomes an image once; together they take no more than the file's `room`."""
    if not isinstance(stored, list | tuple):
        kind = _kind(_plain(stored, "the images"))
        raise PairsError(f"the images are {kind}: they must be a list; {REMEDY}")
    made: dict[int, bytes] = {}  # by identity
    for index, value in enumerate(stored):
        if id(value) not in made:
            made[id(value)] = _image(_plain(value, f"image {index}"), index)
            room -= len(made[id(value)])
            if room < 0:
                raise PairsError(f"images 0..{index} take more bytes than the file has")
    return [made[id(value)] for value in stored]


def _image(value: object, index: int) -> bytes:
    match value:
        case bytes() | str() if (encoded := _bytes(value)) is not None:
            return encoded
        case np.ndarray() if value.dtype.itemsize == 1 and value.dtype != np.bool_:
            if value.size == max(value.shape, default=0):  # [n], or [n, 1] as OpenCV's imencode once gave
                return value.tobytes()
    pixels = ", not its pixels" if isinstance(value, np.ndarray) else ""
    raise PairsError(
        f"image {index} is {_kind(value)}: it must be an encoded image's bytes{pixels}; {REMEDY}"
    )


def _flags(stored: object) -> list[bool]:
    values = _plain(_listed(stored, "the flags"), "the flags")
    if isinstance(values, np.ndarray) and values.size == max(values.shape, default=0):
        values = values.reshape(-1).tolist()
    if not isinstance(values, list | tuple):
        raise PairsError(f"the flags are {_kind(values)}: they must be a list")
    return [_flag(_plain(value, f"flag {index}"), index) for index, value in enumerate(values)]


def _flag(value: object, index: int) -> bool:
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    shown = value if isinstance(value, int) else _kind(value)
    raise PairsError(f"flag {index} is {shown}: it must be a bool, or 0 or 1")


def _kind(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"a NumPy array {value.dtype} {list(value.shape)}"
    if isinstance(value, _Noted):
        return "something of NumPy's"
    return f"of type {type(value).__name__}"


def _plain(value: object, what: str) -> object:
    """What was noted as bytes, a bool, an int or an array; anything else as it is. what: for messages."""
    match value:
        case _NotedBytearray(arguments=arguments):
            return _bytearray(arguments, what)
        case _Noted(arguments=(str() as text, "latin1" | b"latin1")):  # bytes, in protocols 0 to 2
            return _bytes(text)
        case _Noted(arguments=(_Noted() as dtype, data)):  # scalar
            if _RAW.fullmatch(_code(dtype)):
                return _plain(data, what)
            return _array(dtype, (1,), data, what)[0].item()
        case _Noted():
            if parts := _parts(value):
                return _array(*parts, what)
            raise PairsError(f"{what}: something of NumPy's that is neither a number nor an array")
    return value


def _bytearray(arguments: tuple[object, ...], what: str) -> bytes:
    match arguments:
        case ():
            return b""
        case (data,) | (str() as data, "latin-1" | b"latin-1"):
            if (found := _bytes(_plain(data, what))) is not None:
                return found
    raise PairsError(f"{what}: a bytearray of something else than bytes")


def _parts(value: object) -> tuple[_Noted, object, object] | None:
    """dtype, shape and data of an array that was noted."""
    match value:
        case _Noted(arguments=(data, _Noted() as dtype, shape, _)):  # _frombuffer
            return dtype, shape, data
        case _Noted(state=(_, shape, _Noted() as dtype, _, data)):  # _reconstruct
            return dtype, shape, data
    return None


def _code(dtype: _Noted) -> bytes:
    """Byte order, kind and size, as <f8; empty where it is not said. It says so where a type has fields."""
    match dtype:
        case _Noted(arguments=(code, *_), state=(_, order, *rest)):
            fields = b"" if all(each is None for each in rest[:3]) else b" with fields"
            return (_bytes(order) or b"") + (_bytes(code) or b"") + fields
    return b""


def _array(dtype: _Noted, shape: object, data: object, what: str) -> np.ndarray:
    name = _code(dtype)
    if not _PLAIN_DTYPE.fullmatch(name):
        raise PairsError(f"{what}: NumPy data of type {_dtype_name(name)}, only bools and integers are read")
    raw = _bytes(_plain(data, what))
    if raw is None:
        raise PairsError(f"{what}: NumPy data that is {_kind(data)}, it must be bytes")
    values = np.frombuffer(raw, name.decode())
    match shape:
        case tuple() if all(isinstance(n, int) and n >= 0 for n in shape) and math.prod(shape) == len(values):
            return values.reshape(shape)
    raise PairsError(f"{what}: a NumPy array of shape {shape} that has {len(values)} elements")


def _dtype_name(code: bytes) -> str:
    """float64 for b"<f8": what Python calls a type that NumPy writes as a letter and a size in bytes."""
    match = _DTYPE.fullmatch(code.partition(b" ")[0])
    name, sized = _KINDS.get(match[1], (None, False)) if match else (None, False)
    if match is None or name is None:
        return repr(code[:20])
    return f"{name}{8 * int(match[2][:3] or 0)}" if sized else name


def _bytes(value: object) -> bytes | None:
    """Bytes; or text that stands for them, as Python 3 reads what Python 2 wrote; else None."""
    if isinstance(value, str):
        with contextlib.suppress(UnicodeEncodeError):
            return value.encode("latin-1")
    return value if isinstance(value, bytes) else None
