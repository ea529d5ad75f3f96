"""Pair files as a whole: written and read again, missing, of another kind."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.data.pairs.files import PairSet, read_pairs, write_pairs
from partialfc.errors import PairsError
from tests.data.pairs.cases import A, B, C, D


def test_missing_files_and_other_suffixes(tmp_path: Path) -> None:
    with pytest.raises(PairsError, match=r"no\.bin"):
        read_pairs(tmp_path / "no.bin")
    with pytest.raises(PairsError, match=r"\.npz"):
        read_pairs(tmp_path / "pairs.npz")


@given(
    images=st.lists(st.binary(max_size=8), min_size=2, max_size=12).filter(lambda found: len(found) % 2 == 0),
    seed=st.integers(0, 9),
)
@settings(deadline=None)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, images: list[bytes], seed: int
) -> None:
    same = np.random.default_rng(seed).random(len(images) // 2) < 0.5
    path = tmp_path_factory.getbasetemp() / "written.bin"
    write_pairs(path, PairSet(images, same))
    pairs = read_pairs(path)
    assert pairs.images == images
    assert pairs.same.tolist() == same.tolist()


def test_written_files_open_with_pickle_as_other_trainers_do(tmp_path: Path) -> None:
    write_pairs(tmp_path / "out.bin", PairSet([A, B], np.array([True])))
    images, same = pickle.loads((tmp_path / "out.bin").read_bytes(), encoding="bytes")
    assert images == [A, B]
    assert same == [True]
    assert type(same[0]) is bool


def test_equal_pairs_give_equal_bytes_however_objects_are_shared(tmp_path: Path) -> None:
    write_pairs(tmp_path / "shared.bin", PairSet([A, A, B, B], np.array([True, False])))
    write_pairs(
        tmp_path / "apart.bin", PairSet([A, bytes(bytearray(A)), B, B[:1] + B[1:]], np.array([1, 0]) > 0)
    )
    assert (tmp_path / "shared.bin").read_bytes() == (tmp_path / "apart.bin").read_bytes()


def test_writing_replaces_at_once_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    write_pairs(path, PairSet([A, B], np.array([True])))
    write_pairs(path, PairSet([C, D], np.array([False])))
    assert [file.name for file in tmp_path.iterdir()] == ["out.bin"]
    assert read_pairs(path).images == [C, D]
    with pytest.raises(FileNotFoundError):
        write_pairs(tmp_path / "missing" / "out.bin", PairSet([A, B], np.array([True])))


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.mkdir()  # replacing a folder with a file fails after everything was written
    with pytest.raises(OSError):
        write_pairs(target, PairSet([A, B], np.array([True])))
    assert [file.name for file in tmp_path.iterdir()] == ["out.bin"]


@pytest.mark.parametrize(
    ("images", "same", "match"),
    [
        ([A], np.array([True]), "1 images for 1 flags"),
        ([], np.zeros(0, bool), "no pairs"),
        ([A, B], np.array([1]), "dtype int64"),
        ([A, B], np.array([[True]]), "shape"),
    ],
)
def test_pair_sets_check_themselves(images: list[bytes], same: np.ndarray, match: str) -> None:
    with pytest.raises(PairsError, match=match):
        PairSet(images, same)
