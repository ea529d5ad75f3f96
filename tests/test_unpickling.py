"""Pickles get what stands on the list, and nothing of the process changes."""

import copyreg
import pickle
import struct
import sys
import tracemalloc
from collections import OrderedDict
from typing import Any

import pytest

from partialfc.errors import CheckpointError, DataError
from partialfc.unpickling import load_allowed


class Thing:
    """Stands on the list."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments


ALLOWED = {
    (__name__, "Thing"): Thing,
    ("collections", "OrderedDict"): OrderedDict,
    ("anything", "at all"): abs,
}


def load(data: bytes) -> Any:
    return load_allowed(data, ALLOWED, error=DataError)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_stands_on_the_list_is_made(protocol: int) -> None:
    thing = Thing()
    thing.arguments = ({"a": [1.5, None, True]}, {2, "x"} if protocol > 3 else (2, "x"), thing)
    made = load(pickle.dumps(OrderedDict(thing=thing), protocol))["thing"]
    assert type(made) is Thing
    assert made.arguments[:2] == thing.arguments[:2]
    assert made.arguments[2] is made


def test_a_name_gets_what_the_list_gives_and_is_not_looked_up() -> None:
    assert load(b"canything\nat all\n(I-3\ntR.") == 3
    assert "anything" not in sys.modules


def test_nothing_is_imported_for_a_name_that_is_refused() -> None:
    sys.modules.pop("this", None)
    with pytest.raises(CheckpointError, match=r"^the pickle asks for this\.s, .* could run code"):
        load_allowed(b"cthis\ns\n.", ALLOWED, error=CheckpointError)
    with pytest.raises(DataError, match=r"asks for collections\.abc\.Callable"):
        load(b"\x80\x04\x8c\x0bcollections\x8c\x0cabc.Callable\x93.")
    assert "this" not in sys.modules


def test_the_extension_registry_is_no_way_round() -> None:
    copyreg.add_extension("os", "system", 77)
    try:
        assert pickle.loads(b"\x80\x02\x82\x4d.").__name__ == "system"  # now cached for every unpickler
        with pytest.raises(DataError, match="number 77 of the extension registry"):
            load(b"\x80\x02\x82\x4d.")
    finally:
        copyreg.remove_extension("os", "system", 77)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (f"c{__name__}\nThing\n", "type"),
        ("canything\nat all\n", "builtin_function_or_method"),
        ("(t", "tuple"),
    ],
)
def test_the_state_of_what_it_was_given_cannot_be_set(given: str, kind: str) -> None:
    slots = "(N(dVarguments\nI7\nst"  # (None, {"arguments": 7}): the way that works on classes
    with pytest.raises(DataError, match=f"^the pickle sets the state of a {kind}$"):
        load(f"{given}{slots}b.".encode())
    assert not hasattr(Thing, "arguments")


def test_bytearrays_come_as_the_bytes_that_are_there() -> None:
    assert load(pickle.dumps(bytearray(b"abc"), 5)) == b"abc"
    with pytest.raises(DataError, match="truncated"):
        load(b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b"abc.")


def test_a_name_that_was_cut_short_is_damage() -> None:
    with pytest.raises(DataError, match="damaged or truncated one: EOFError"):
        load(f"c{__name__}\nThi".encode())


def test_a_memo_index_reserves_nothing() -> None:
    tracemalloc.start()
    try:
        assert load(b"Nr\xff\xff\xff\x0f.") is None  # in C: 2**28 slots of eight bytes, twice
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
