"""The log of a gallery: what was appended is read, whatever ended the process; damage is named."""

import os
import re
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.errors import DataError
from partialfc.serving.gallery.changes import MAGIC, Change, Changes, net

WIDTH = 3


def change(name: str, *, seed: int = 0, rows: int = 2) -> Change:
    return Change(name, np.random.default_rng(seed).normal(size=(rows, WIDTH)).astype(np.float32))


MADE = [change("anna"), Change("bob", None), change("日本 / č", seed=1, rows=1), change("anna", seed=2)]


def opened(path: Path, *, identity: str = "model") -> Changes:
    return Changes(path, identity=identity, width=WIDTH)


def written(path: Path, changes: list[Change]) -> list[int]:
    """Where each change ends in the file."""
    ends = []
    with opened(path) as file:
        assert list(file.read()) == []
        for each in changes:
            file.append([each])
            ends.append(path.stat().st_size)
    return ends


def read(path: Path) -> list[Change]:
    with opened(path) as file:
        return list(file.read())


def assert_same(found: list[Change], expected: list[Change]) -> None:
    assert [each.name for each in found] == [each.name for each in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.rows is None) == (theirs.rows is None)
        if mine.rows is not None:
            np.testing.assert_array_equal(mine.rows, theirs.rows)
            assert mine.rows.dtype == np.float32


def test_changes_are_read_in_their_order(tmp_path: Path) -> None:
    written(tmp_path / "log", MADE)
    assert_same(read(tmp_path / "log"), MADE)
    with opened(tmp_path / "log") as file:
        list(file.read())
        file.append(MADE[:2])
        assert_same(list(file.read()), MADE + MADE[:2])
    assert_same(read(tmp_path / "log"), MADE + MADE[:2])


def test_a_file_that_ends_anywhere_has_all_changes_before_and_takes_more(tmp_path: Path) -> None:
    """As a process leaves it that is killed while it writes."""
    path = tmp_path / "log"
    ends = written(path, MADE)
    whole = path.read_bytes()
    for size in range(0, len(whole), 5):
        path.write_bytes(whole[:size])
        before = [each for each, end in zip(MADE, ends, strict=True) if end <= size]
        with opened(path) as file:
            assert_same(list(file.read()), before)
            file.append(MADE[:1])
        assert_same(read(path), [*before, MADE[0]])


def test_room_that_was_taken_and_not_written_to_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, MADE)
    size = path.stat().st_size
    os.truncate(path, size + 5000)
    assert_same(read(path), MADE)
    assert path.stat().st_size == size


@settings(max_examples=30, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), flipped=st.integers(1, 255))
def test_damage_before_the_last_change_is_never_read(tmp_path_factory, place: float, flipped: int) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    ends = written(path, MADE)
    data = bytearray(path.read_bytes())
    data[int(place * ends[-2])] ^= flipped
    path.write_bytes(data)
    with pytest.raises(DataError, match=re.escape(str(path))):
        read(path)
    assert path.read_bytes() == data


def test_another_models_file_and_one_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, MADE)
    with opened(path, identity="other") as file, pytest.raises(DataError, match="one of another model"):
        list(file.read())
    path.write_bytes(MAGIC + b"{}\n")
    with pytest.raises(DataError, match="one of another model"):
        read(path)


def test_what_another_process_still_writes_is_not_cut_off_by_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "log"
    ends = written(path, MADE)
    whole = path.read_bytes()
    path.write_bytes(whole[: ends[-1] - 3])
    with Changes(path, identity="model", width=WIDTH, writable=False) as file:
        assert_same(list(file.read()), MADE[:-1])
    path.write_bytes(whole)
    assert_same(read(path), MADE)


def test_what_changes_come_to() -> None:
    carl = change("carl")
    changes = [carl, MADE[0], MADE[1], change("bob"), MADE[2], Change("anna", None), MADE[3], MADE[1]]
    removed, added = net(changes)
    assert removed == {"anna", "bob"}
    assert_same([Change(*each) for each in added], [carl, MADE[2], MADE[3]])


def test_a_removed_name_is_gone_in_any_form() -> None:
    removed, added = net([change("Jose\u0301"), Change("Jos\u00e9", None), change("Jose")])
    assert (removed, [name for name, _ in added]) == ({"Jos\u00e9"}, ["Jose"])


def test_a_full_disk_takes_no_change_and_loses_none(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, MADE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(path) as file:
        list(file.read())
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 40, hard))
        try:
            with pytest.raises(OSError, match="too large") as failed:
                file.append([change("clara"), change("dora")])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert failed.value.filename == str(path)
        assert file.broken is None
        file.append([change("emil", seed=3)])
    assert_same(read(path), [*MADE, change("emil", seed=3)])


def test_a_file_that_is_no_longer_where_it_was_takes_no_change(tmp_path: Path) -> None:
    """Who opens the gallery next would not find it."""
    path, moved = tmp_path / "log", tmp_path / "moved"
    written(path, MADE)
    with opened(path) as file:
        list(file.read())
        path.rename(moved)
        with pytest.raises(FileNotFoundError, match=r"removed, moved or replaced.*log"):
            file.append([change("clara")])
        path.write_bytes(moved.read_bytes())
        with pytest.raises(FileNotFoundError):
            file.append([change("clara")])
        moved.rename(path)
        file.append([change("emil", seed=3)])
    assert_same(read(path), [*MADE, change("emil", seed=3)])
