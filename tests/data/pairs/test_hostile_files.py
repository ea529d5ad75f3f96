"""`.bin` files that attackers write, and what damage leaves of them."""

import builtins
import contextlib
import os
import pickle
import struct
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.data.pairs.files import PairSet, read_pairs
from partialfc.errors import PairsError
from tests.data.pairs.cases import PROTOCOLS, A, B, refused, write


class Reduces:
    """Pickles as a call, `function(*arguments)`, and a state that is set on what it returns."""

    def __init__(self, function: object, *arguments: object, state: object = None) -> None:
        self.call = (function, arguments, state)

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


def in_a_pair(pickled: bytes) -> bytes:
    """The same as the first of two images."""
    return b"((l" + pickled.removesuffix(b".") + b"aS'b'\na(lI01\nat."


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (Reduces(os.system, "exit 1"), f"{os.system.__module__}.system"),
        (Reduces(eval, "1"), "eval"),
        (Reduces(subprocess.Popen, ["false"]), r"(subprocess|commands)\.Popen"),
        (Reduces(getattr, np.ndarray, "tofile"), "getattr"),
        (Reduces(np.load, "x.npy", None, True), "numpy.load"),
        (np.dtype, "numpy.dtype|a function|of type"),
        (builtins.print, "print"),
        (np.float64(1), "numpy|float64"),
        (np.random.default_rng(0), "numpy.random|dict|DICT"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_calls_nothing_and_names_what_was_asked_for(
    tmp_path: Path, payload: object, name: str, protocol: int
) -> None:
    refused(tmp_path, pickle.dumps(([A, payload], [True]), protocol=protocol), name)


def test_a_refused_call_has_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    for protocol in PROTOCOLS:
        refused(tmp_path, pickle.dumps(Reduces(os.mkdir, str(trace)), protocol), r"asks for \w+\.mkdir")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("pickled", "match"),
    [
        (b"cos\nsystem\n(S'exit 1'\ntR.", "asks for os.system"),
        (b"(S'exit 1'\nios\nsystem\n.", "asks for os.system"),
        (b"(cos\nsystem\nS'exit 1'\no.", "asks for os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x06exit 1\x85R.", "asks for os.system"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93.", r"asks for numpy.dtype.__class__"),
        (b"\x80\x02csubprocess\nPopen\n)\x81.", "asks for subprocess.Popen"),
        (b"cnumpy\ndtype\n(tb.", "sets the state of a type"),
        (b"Pid\n.", "persistent id"),
        (b"Nq\x00Q.", "persistent id"),
        (b"\x80\x02\x82\x01.", "number 1 of the extension registry"),
        (b"\x80\x05\x97.", "out-of-band"),
        (b"\x80\x63N.", "damaged .*protocol"),
    ],
    ids=repr,
)
def test_refuses_hand_made_pickles(tmp_path: Path, pickled: bytes, match: str) -> None:
    refused(tmp_path, pickled, match)
    refused(tmp_path, in_a_pair(pickled), match)


@pytest.mark.parametrize(
    ("pickled", "kind", "match"),
    [
        (b"cnumpy\ndtype\n.", "of type type", "image 0 is of type type"),
        (b"\x80\x02cnumpy\ndtype\n)\x81.", "NumPy's", "neither a number nor an array"),
        (b"cnumpy\nndarray\n(I9\ntR.", "NumPy's", "neither a number nor an array"),
        (b"cnumpy.core.multiarray\nscalar\n(tR.", "NumPy's", "neither a number nor an array"),
        (b"cnumpy.core.numeric\n_frombuffer\n(tR.", "NumPy's", "neither a number nor an array"),
        (b"cnumpy\ndtype\n(tR.", "NumPy's", "neither a number nor an array"),
        (b"cnumpy\ndtype\n(S'O'\ntR.", "NumPy's", "neither a number nor an array"),
        (b"cnumpy\ndtype\n(S'u1'\ntR(I3\nS'?'\ntb.", "NumPy's", "neither a number nor an array"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(tR(tb.", "NumPy's", "neither a number nor an array"),
        (b"c_codecs\nencode\n(Vabc\nVrot13\ntR.", "NumPy's", "neither a number nor an array"),
        (b"c_codecs\nencode\n(Vab\\u2603\nVlatin1\ntR.", "NumPy's", "image 0 is of type NoneType"),
        (b"\x80\x02}.", "of type dict", "image 0 is of type dict"),
        (b"\x80\x04\x8f.", "of type set", "image 0 is of type set"),
        (b"G\x3f\xf0\x00\x00\x00\x00\x00\x00.", "of type float", "image 0 is of type float"),
        (b"L" + b"9" * 4000 + b"L\n.", "of type int", "image 0 is of type int"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_takes_only_plain_data(tmp_path: Path, pickled: bytes, kind: str, match: str) -> None:
    refused(tmp_path, pickled, f"the pickle is .*{kind}.*: it must be two lists")
    refused(tmp_path, in_a_pair(pickled), match)


_OBJECT_FIELD = Reduces(
    np.dtype, "V8", False, True, state=(3, "|", None, ("f",), {"f": (np.dtype("O"), 0)}, 8, 1, 0)
)
_UNSIGNED = Reduces(np.dtype, "u1", False, True, state=(3, "|", None, None, None, -1, -1, 0))
_OBJECT = Reduces(np.dtype, "O", False, True, state=(3, "|", None, None, None, -1, -1, 63))
_scalar, _reconstruct = np._core.multiarray.scalar, np._core.multiarray._reconstruct
_frombuffer = np._core.numeric._frombuffer


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("payload", "match"),
    [
        pytest.param(
            Reduces(_frombuffer, b"A" * 8, _OBJECT_FIELD, (1,), "C"),
            "type void,",
            id="array at address 0x4141414141414141",
        ),
        pytest.param(
            Reduces(_scalar, _OBJECT_FIELD, b"A" * 8),
            "type void,",
            id="object at address 0x4141414141414141",
        ),
        pytest.param(Reduces(_scalar, _OBJECT, [A]), "type object,", id="any object"),
        pytest.param(
            Reduces(_reconstruct, np.ndarray, (0,), b"b", state=(1, (1,), _OBJECT, False, [A])),
            "type object,|flag 0 is of type bytes",
            id="array of any objects",
        ),
        pytest.param(
            Reduces(_reconstruct, np.ndarray, (1 << 33,), b"b"), "neither a number nor an array", id="8 GB"
        ),
        pytest.param(Reduces(np.ndarray, (1 << 29,), "O"), "neither a number nor an array", id="4 GB"),
        pytest.param(
            Reduces(_reconstruct, np.ndarray, (0,), b"b", state=(1, (1 << 40,), _UNSIGNED, False, A)),
            r"shape \(1099511627776,\) that has 4 elements",
            id="array that lies about its shape",
        ),
        pytest.param(
            Reduces(_frombuffer, A, _UNSIGNED, 4, "C"), "shape 4 that has 4 elements", id="no shape"
        ),
        pytest.param(
            Reduces(_reconstruct, np.ndarray, (0,), b"b", state=(1, (-2, -2), _UNSIGNED, False, A)),
            r"shape \(-2, -2\) that has 4 elements",
            id="array of negative shape",
        ),
        pytest.param(
            Reduces(_reconstruct, np.ndarray, (0,), b"b", state=(1, (4,) + (1,) * 99, _UNSIGNED, False, A)),
            "damaged pickle: maximum supported dimension",
            id="array of a hundred dimensions",
        ),
        pytest.param(
            Reduces(_reconstruct, np.ndarray, (0,), b"b", state=(1, (4,), _UNSIGNED, False, 1 << 40)),
            "is of type int, it must be bytes",
            id="array of no bytes",
        ),
        pytest.param(
            Reduces(_scalar, _UNSIGNED, 1 << 40), "is of type int, it must be bytes", id="scalar of no bytes"
        ),
    ],
)
def test_numpys_own_functions_are_not_called(
    tmp_path: Path, payload: Reduces, match: str, protocol: int
) -> None:
    """The names are what those would make of it."""
    for pair in (([payload, B], [True]), ([A, B], payload), ([A, B], [payload])):
        refused(tmp_path, pickle.dumps(pair, protocol), match)


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    state = (1, (10**5000,), _UNSIGNED, False, A)
    huge = Reduces(_reconstruct, np.ndarray, (0,), b"b", state=state)
    refused(tmp_path, pickle.dumps(([huge, B], [True])), "damaged pickle: Exceeds the limit")
    refused(tmp_path, pickle.dumps(([A, B], [10**5000])), "damaged pickle: Exceeds the limit")
    refused(tmp_path, in_a_pair(b"(" * 50_000 + b"t" * 50_000 + b"."), "image 0 is a tuple of 1")


def test_an_array_whose_data_is_itself_is_refused(tmp_path: Path) -> None:
    dtype = b"cnumpy\ndtype\n(S'u1'\ntR(I3\nS'|'\ntb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(tRp1\n(I1\n(I1\nt" + dtype + b"I00\ng1\ntb"
    refused(tmp_path, in_a_pair(array + b"."), "damaged pickle: maximum recursion")


# Eight bytes of file that make a careless reader reserve gigabytes, or images made again and again
_TEXT = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
_ENCODED = b"c_codecs\nencode\nq\x010" + _TEXT + b"q\x020X\x06\x00\x00\x00latin1q\x030"


@pytest.mark.parametrize(
    ("pickled", "match"),
    [
        (b"Nr\xff\xff\xff\x0f.", "of type NoneType"),
        (b"Nr\xff\xff\xff\x7f.", "of type NoneType"),
        (b"Np2147483647\n.", "of type NoneType"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".", "truncated"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 63) + b".", "truncated"),
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 33) + b".", "truncated"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 33) + b".", "truncated"),
        (b"\x80\x04\x95" + struct.pack("<Q", 1 << 33) + b".", "truncated"),
        (b"\x8b" + struct.pack("<i", (1 << 31) - 1) + b".", "truncated"),
        (b"(](" + _TEXT + b"q\x01" + b"h\x01" * 4000 + b"e](I01\nI00\net.", "4001 images for 2 flags"),
        (
            _ENCODED + b"(](" + b"h\x01h\x02h\x03\x86R" * 200 + b"e](I01\nI00\net.",
            r"images 0\.\.\d take more bytes than the file",
        ),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_small_files_take_little_memory(tmp_path: Path, pickled: bytes, match: str) -> None:
    tracemalloc.start()
    try:
        refused(tmp_path, pickled, match)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_an_array_that_lies_about_its_shape(tmp_path: Path) -> None:
    data = pickle.dumps(([np.frombuffer(A, np.uint8).copy(), B], [True]), protocol=4)
    size = bytes([len(A)])
    lie = data.replace(b"(K\x01K" + size, b"(K\x01K\xfe")
    assert lie != data
    refused(tmp_path, lie, r"shape \(254,\)")


def test_pickles_of_the_reader_itself_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, pickle.dumps(PairSet([A, B], np.array([True]))), "DICT|asks for partialfc")


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    for protocol in PROTOCOLS:
        data = pickle.dumps(([np.frombuffer(A, np.uint8), B], [np.bool_(True)]), protocol=protocol)
        for length in range(len(data)):
            refused(tmp_path, data[:length], "damaged")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_flipped_bytes_give_pairs_or_a_pairs_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    protocol = data.draw(st.sampled_from(PROTOCOLS))
    pickled = bytearray(pickle.dumps(([np.frombuffer(A, np.uint8), B], [np.bool_(True)]), protocol=protocol))
    for _ in range(data.draw(st.integers(1, 3))):
        pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))
    path = write(tmp_path_factory.getbasetemp(), bytes(pickled), "flipped.bin")
    with contextlib.suppress(PairsError):  # any other error fails
        assert len(read_pairs(path).images) == 2


def test_not_a_pickle_at_all(tmp_path: Path) -> None:
    refused(tmp_path, b"", "truncated")
    refused(tmp_path, b"\xff\xd8\xff\xe0 a JPEG", "not a pickle")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/dev/zero", "line 1: /dev/zero is not a file"),
        ("pipe", "line 1: .*pipe is not a file"),
        ("a\0b", "line 1: cannot read .*null byte"),
        ("a" * 5000, "line 1: cannot read .*name too long"),
        ("secret", r"line 1: cannot read .*secret: Is a directory"),
    ],
)
def test_lists_name_files_and_nothing_else(tmp_path: Path, name: str, message: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "secret").mkdir()
    (tmp_path / "list.txt").write_text(f"{name} {name} 1\n")
    with pytest.raises(PairsError, match=message):
        read_pairs(tmp_path / "list.txt")
