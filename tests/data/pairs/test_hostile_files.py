"""`.bin` files that attackers write, and what damage leaves of them."""

import builtins
import contextlib
import os
import pickle
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.data.pairs.files import PairSet, read_pairs
from partialfc.errors import PairsError
from tests.data.pairs.cases import PROTOCOLS, A, B, refused, write


class Reduces:
    """Pickles as a call: `function(*arguments)`."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


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
        (np.float64(1), "numpy|f8"),
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
        (b"\x80\x02cnumpy\ndtype\n)\x81.", "damaged pickle|class"),
        (b"cnumpy\nndarray\n(I9\ntR.", "calling its class"),
        (b"cnumpy.core.multiarray\nscalar\n(tR.", "NumPy scalar"),
        (b"cnumpy.core.numeric\n_frombuffer\n(tR.", "NumPy array"),
        (b"cnumpy\ndtype\n(tR.", "NumPy dtype"),
        (b"cnumpy\ndtype\n(S'O'\ntR.", "of type b'O'"),
        (b"cnumpy\ndtype\n(S'u1'\ntR(I3\nS'?'\ntb.", "NumPy dtype"),
        (b"cnumpy\ndtype\n(tb.", "state for a function"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(tR(tb.", "NumPy array"),
        (b"c_codecs\nencode\n(Vabc\nVrot13\ntR.", "encoding"),
        (b"Pid\n.", "PERSID"),
        (b"Nq\x00Q.", "BINPERSID|memo"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x02}.", "EMPTY_DICT"),
        (b"\x80\x04\x8f.", "EMPTY_SET"),
        (b"G\x3f\xf0\x00\x00\x00\x00\x00\x00.", "BINFLOAT"),
        (b"Nr\xff\xff\xff\x7f.", "memo index"),
        (b"N" + b"p2147483647\n.", "memo index"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".", "truncated"),
        (b"\x80\x63N.", "damaged|protocol"),
    ],
    ids=repr,
)
def test_refuses_hand_made_pickles(tmp_path: Path, pickled: bytes, match: str) -> None:
    refused(tmp_path, pickled, match)


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
