"""What a reader keeps of an index: as a table of keys and offsets says, in few bytes, shared by processes."""

import pickle
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.data.sources import index_lines, record_places
from partialfc.data.sources.index_lines import read_lines
from partialfc.data.sources.record_keys import Keys, KeyTable
from partialfc.data.sources.record_places import Offsets, PlacesBuilder, places_of
from partialfc.data.sources.record_reader import RecordReader
from partialfc.data.sources.recordio_index import read_index
from partialfc.errors import RecordIndexError
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, warm_python

MANY = 300_000
TURN = 1 << 34  # bytes, after which an offset needs more than 32 bits
RECORD = bytes.fromhex("0a23d7ce") + bytes(4)  # without a payload


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "train.rec"
    path.write_bytes(RECORD * MANY)
    path.with_suffix(".idx").write_text("".join(f"{key}\t{8 * key}\n" for key in range(MANY)))
    return path


NUMBERS = st.integers(0, 10**18 - 1) | st.integers(0, 2000)


@given(
    lines=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=60), block=st.sampled_from([1, 50, 1000])
)
@settings(max_examples=100, deadline=None)
def test_lines_are_the_numbers_that_python_reads_there(
    lines: list[tuple[int, int]], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.idx"
    path.write_text("".join(f"{key}\t{offset}\n" for key, offset in lines))
    with pytest.MonkeyPatch.context() as patch, path.open("rb") as file:
        patch.setattr(index_lines, "BLOCK", block)
        found = [line for keys, offsets in read_lines(path, file) for line in zip(keys, offsets, strict=True)]
    assert found == lines


def test_leading_zeros_are_read(tmp_path: Path) -> None:
    path = tmp_path / "zeros.idx"
    path.write_text("000\t0000\n001\t0012\n")
    assert list(read_index(path)[0]) == [0, 1]


KEYS = st.lists(st.integers(0, 60) | st.integers(2**32 - 5, 2**32 + 5), min_size=1, max_size=40, unique=True)


@given(keys=KEYS | KEYS.map(sorted), data=st.data())
@settings(max_examples=150, deadline=None)
def test_places_and_positions_are_those_of_a_sorted_table(keys: list[int], data: st.DataObject) -> None:
    step = st.integers(2, 40).map(lambda words: 4 * words) | st.integers(1, 4).map(TURN.__mul__)
    offsets = np.cumsum([0, *(data.draw(step) for _ in keys[1:])])
    found, starts = places_of(np.array(keys), offsets)
    require_table(found, starts, keys, offsets.tolist())


def test_offsets_beyond_any_disk_are_kept_too() -> None:
    offsets = np.array([0, 10**17, 9 * 10**17])
    require_table(*places_of(np.array([3, 4, 9]), offsets), [3, 4, 9], offsets.tolist())


DENSE = st.lists(st.integers(3, 3000), min_size=2, max_size=60, unique=True)


@given(keys=DENSE | st.permutations(range(5, 40)), part=st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_keys_in_any_order_become_a_table_that_says_the_same(keys: list[int], part: int) -> None:
    offsets = 4 * np.arange(len(keys))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_places, "LEAST", 1)
        builder = PlacesBuilder(most_keys=3001)
        for start in range(0, len(keys), part):
            assert builder.add(np.array(keys[start : start + part]), offsets[start : start + part])
        places = builder.finish()
        assert places is not None
        require_table(*places, keys, offsets.tolist())


SHUFFLED = (np.random.default_rng(0).permutation(3 * record_places.LEAST) + 7).tolist()


def shuffled(path: Path, keys: list[int]) -> Path:
    path.write_text("".join(f"{key}\t{8 * at}\n" for at, key in enumerate(keys)))
    return path


@pytest.mark.parametrize("left_out", [0, 5, 4000], ids=["whole", "gaps", "a third"])
def test_shuffled_keys_are_a_table(tmp_path: Path, left_out: int) -> None:
    kept = SHUFFLED[left_out:]
    keys, offsets = read_index(shuffled(tmp_path / "a.idx", kept))
    assert isinstance(keys, KeyTable)
    assert keys[:].tolist() == sorted(kept)
    assert [keys.position(keys.below(key)) for key in kept[:50]] == [*range(50)]
    assert [offsets[at] for at in (0, len(kept) - 1)] == [0, 8 * len(kept) - 8]
    again = pickle.loads(pickle.dumps(keys))
    again.attach()
    assert again[100:120].tolist() == sorted(kept)[100:120]


@pytest.mark.parametrize("wrong", [10**12, SHUFFLED[5]], ids=["a key far off", "a key twice"])
def test_what_does_not_fit_the_table_is_found_by_sorting(tmp_path: Path, wrong: int) -> None:
    path = shuffled(tmp_path / "a.idx", [*SHUFFLED, wrong])
    if wrong in SHUFFLED:
        with pytest.raises(RecordIndexError, match=f"line {len(SHUFFLED) + 1}: key {wrong} appears twice"):
            read_index(path)
    else:
        assert read_index(path)[0][:].tolist() == sorted([*SHUFFLED, wrong])


def require_table(found: Keys, starts: Offsets, keys: list[int], offsets: list[int]) -> None:
    """keys [n] and offsets [n] in the order of the file."""
    size, ordered = len(keys), sorted(keys)
    positions = [keys.index(key) for key in ordered]
    assert list(found) == found[:].tolist() == ordered
    assert found.distinct
    assert [found.position(place) for place in range(size)] == positions
    assert found.positions(np.arange(size)).tolist() == positions
    assert found.places(np.arange(size)).tolist() == [ordered.index(key) for key in keys]
    for key in {0, *keys, *(key + 1 for key in keys), 2**40}:
        assert found.below(key) == sum(each < key for each in keys)
    gaps = [at for at in range(size - 1) if keys[at + 1] != keys[at] + 1 or isinstance(found, KeyTable)]
    assert found.gaps(size).tolist() == gaps
    assert set(found.gaps(3).tolist()) <= set(gaps)
    assert list(starts) == offsets
    assert starts[size // 3 : size // 2].tolist() == offsets[size // 3 : size // 2]


def test_an_index_takes_little_more_than_four_bytes_a_record(large: Path) -> None:
    RecordReader(large).close()  # imports what it needs
    tracemalloc.start()
    try:
        reader = RecordReader(large)
        assert tracemalloc.get_traced_memory()[0] < 5.5 * MANY
    finally:
        tracemalloc.stop()
    assert len(reader) == MANY


UNPICKLE = """
import pickle, sys
from pathlib import Path
reader = pickle.loads(Path(sys.argv[1]).read_bytes())
reader.read(reader.keys[-1])
print(len(reader), reader.keys[-1], "memfd:partialfc" in Path("/proc/self/maps").read_text())
"""
PICKLE = """
import pickle, sys
from pathlib import Path
from partialfc.data.sources.record_reader import RecordReader
Path(sys.argv[1]).write_bytes(pickle.dumps(RecordReader(sys.argv[2])))
"""


def run(program: str, *arguments: object) -> str:
    """What another process prints."""
    done = warm_python().run("-c", program, *arguments, env=ENVIRONMENT, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the index is copied")
def test_processes_share_the_index(large: Path, tmp_path: Path) -> None:
    reader = RecordReader(large)
    packed = tmp_path / "reader"
    packed.write_bytes(pickle.dumps(reader))
    assert packed.stat().st_size < 2000
    reader.close()
    assert run(UNPICKLE, packed) == f"{MANY} {MANY - 1} True\n"
    again = pickle.loads(pickle.dumps(pickle.loads(packed.read_bytes())))
    assert again.read(MANY - 1) == reader.read(5) == b""


def test_a_pickle_outlives_the_process_that_shared_its_index(large: Path, tmp_path: Path) -> None:
    run(PICKLE, tmp_path / "reader", large)
    assert run(UNPICKLE, tmp_path / "reader") == f"{MANY} {MANY - 1} False\n"
