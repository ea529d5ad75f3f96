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

from partialfc.data.pairs.files import PairSet, read_pairs, write_pairs
from partialfc.errors import PairsError
from tests.paths import MXNET

FIXTURE = MXNET / "glyphs_pairs.bin"
A, B, C, D = b"\xff\xd8 a", b"\xff\xd8\x00\n'\\ b", b"\x89PNG\x80 c", b"d\xfe"
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def _write(folder: Path, data: bytes, name: str = "pairs.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _refused(folder: Path, data: bytes, match: str) -> None:
    path = _write(folder, data)
    with pytest.raises(PairsError, match=match) as caught:
        read_pairs(path)
    assert str(path) in str(caught.value)


class Reduces:
    """Pickles as a call: `function(*arguments)`."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


# What real files hold


def test_reads_the_file_that_mxnet_users_have() -> None:
    pairs = read_pairs(FIXTURE)
    assert len(pairs.images) == 120
    assert pairs.same.dtype == np.bool_
    assert pairs.same.shape == (60,)
    assert pairs.same.sum() == 30
    assert all(image.startswith(b"\xff\xd8") and image.endswith(b"\xff\xd9") for image in pairs.images)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "flags",
    [
        [True, False],
        (1, 0),
        [np.bool_(True), np.bool_(False)],
        [np.int64(1), np.int64(0)],
        [np.uint8(1), np.int32(0)],
        np.array([True, False]),
        np.array([1, 0]),
        np.array([1, 0], dtype=">i4"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("numpy_images", [False, True])
def test_reads_every_protocol_and_kind_of_flag(
    tmp_path: Path, protocol: int, flags: object, numpy_images: bool
) -> None:
    images: list[object] = [A, B, C, D]
    if numpy_images:  # one that owns its data, read-only ones, and a view with a stride
        views = [np.frombuffer(image, np.uint8) for image in (A, B, C)]
        images = [views[0].copy(), views[1], views[2], np.repeat(np.frombuffer(D, np.uint8), 2)[::2]]
    pairs = read_pairs(_write(tmp_path, pickle.dumps((images, flags), protocol=protocol)))
    assert pairs.images == [A, B, C, D]
    assert pairs.same.tolist() == [True, False]


def test_reads_bytearrays_and_text_that_stands_for_bytes(tmp_path: Path) -> None:
    images = [bytearray(A), B.decode("latin-1")]
    assert read_pairs(_write(tmp_path, pickle.dumps((images, [1]), protocol=5))).images == [A, B]


# What Python 2.7's pickle and cPickle write, opcode by opcode; there is no Python 2 to ask any more.
def _python2_protocol_2(images: bytes, flags: bytes) -> bytes:
    return b"\x80\x02]q\x01(" + images + b"e]q\x05(" + flags + b"e\x86q\x06."


def _short_binstring(data: bytes, memo: int) -> bytes:
    return b"U" + bytes([len(data)]) + data + b"q" + bytes([memo])


def test_reads_python_2_protocol_0(tmp_path: Path) -> None:
    strings = b"".join(b"S%s\np%d\na" % (repr(image)[1:].encode(), i + 3) for i, image in enumerate((A, B)))
    data = b"((lp1\n" + strings + b"(lp9\nI01\natp10\n."
    pairs = read_pairs(_write(tmp_path, data))
    assert pairs.images == [A, B]
    assert pairs.same.tolist() == [True]


def test_reads_python_2_strings(tmp_path: Path) -> None:
    long = b"T" + struct.pack("<i", len(B)) + B + b"q\x03"
    data = _python2_protocol_2(_short_binstring(A, 2) + long + b"h\x02h\x03", b"\x88K\x00")
    pairs = read_pairs(_write(tmp_path, data))
    assert pairs.images == [A, B, A, B]
    assert pairs.same.tolist() == [True, False]


def test_reads_python_2_numpy(tmp_path: Path) -> None:
    dtype = b"cnumpy\ndtype\n(U\x02%sK\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        b"(K\x01(K%ct" % len(A) + dtype % b"u1" + b"\x89U" + bytes([len(A)]) + A + b"tb"
    )
    scalar = b"cnumpy.core.multiarray\nscalar\n(" + dtype % b"b1" + b"U\x01\x01tR"
    pairs = read_pairs(_write(tmp_path, _python2_protocol_2(array + _short_binstring(B, 9), scalar)))
    assert pairs.images == [A, B]
    assert pairs.same.tolist() == [True]


# What attackers write


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
    _refused(tmp_path, pickle.dumps(([A, payload], [True]), protocol=protocol), name)


def test_a_refused_call_has_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    for protocol in PROTOCOLS:
        _refused(tmp_path, pickle.dumps(Reduces(os.mkdir, str(trace)), protocol), r"asks for \w+\.mkdir")
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
    _refused(tmp_path, pickled, match)


def test_an_array_that_lies_about_its_shape(tmp_path: Path) -> None:
    data = pickle.dumps(([np.frombuffer(A, np.uint8).copy(), B], [True]), protocol=4)
    size = bytes([len(A)])
    lie = data.replace(b"(K\x01K" + size, b"(K\x01K\xfe")
    assert lie != data
    _refused(tmp_path, lie, r"shape \(254,\)")


def test_pickles_of_the_reader_itself_are_refused(tmp_path: Path) -> None:
    _refused(tmp_path, pickle.dumps(PairSet([A, B], np.array([True]))), "DICT|asks for partialfc")


# What damage leaves


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    for protocol in PROTOCOLS:
        data = pickle.dumps(([np.frombuffer(A, np.uint8), B], [np.bool_(True)]), protocol=protocol)
        for length in range(len(data)):
            _refused(tmp_path, data[:length], "damaged")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_flipped_bytes_give_pairs_or_a_pairs_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    protocol = data.draw(st.sampled_from(PROTOCOLS))
    pickled = bytearray(pickle.dumps(([np.frombuffer(A, np.uint8), B], [np.bool_(True)]), protocol=protocol))
    for _ in range(data.draw(st.integers(1, 3))):
        pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))
    path = _write(tmp_path_factory.getbasetemp(), bytes(pickled), "flipped.bin")
    with contextlib.suppress(PairsError):  # any other error fails
        assert len(read_pairs(path).images) == 2


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (([A, B, C], [True]), "3 images for 1 flags"),
        (([A, B], [True, False]), "2 images for 2 flags"),
        (([], []), "no pairs"),
        ([A, B], "list of 2"),
        (([A, B], [True], []), "tuple of 3"),
        (([A, B], True), "tuple of 2"),
        (A, "type bytes"),
        (None, "NoneType"),
        (([A, 7], [True]), "image 1 is of type int"),
        (([A, [B]], [True]), "image 1 is a list of 1"),
        (([A, "\u2603"], [True]), "image 1 is text"),
        (([A, np.arange(3)], [True]), "image 1 is a NumPy array"),
        (([A, np.ones((2, 2), np.uint8)], [True]), "one-dimensional|shape"),
        (([A, B], [2]), "flag 0 is 2"),
        (([A, B], [None]), "flag 0 is of type NoneType"),
        (([A, B], np.array([-1])), "flag 0 is -1"),
    ],
    ids=repr,
)
def test_wrong_structure(tmp_path: Path, content: object, match: str) -> None:
    _refused(tmp_path, pickle.dumps(content), match)


def test_not_a_pickle_at_all(tmp_path: Path) -> None:
    _refused(tmp_path, b"", "truncated")
    _refused(tmp_path, b"\xff\xd8\xff\xe0 a JPEG", "not a pickle")


def test_missing_files_and_other_suffixes(tmp_path: Path) -> None:
    with pytest.raises(PairsError, match=r"no\.bin"):
        read_pairs(tmp_path / "no.bin")
    with pytest.raises(PairsError, match=r"\.npz"):
        read_pairs(tmp_path / "pairs.npz")


# Lists of one's own images


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    (tmp_path / "people").mkdir()
    for name, data in (("a.jpg", A), ("b.jpg", B), ("people/c c.png", C), ("people/d,d.png", D)):
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "images", "same"),
    [
        ("a.jpg b.jpg 1\nb.jpg\t a.jpg  0\n", [A, B, B, A], [True, False]),
        ("# mine\n\n  # indented\na.jpg   b.jpg 1", [A, B], [True]),
        ("a.jpg,people/c c.png,0\r\na.jpg, b.jpg, 1\r\n", [A, C, A, B], [False, True]),
        ('a.jpg,"people/d,d.png",1\n', [A, D], [True]),
        ("people/c c.png\tpeople/d,d.png\t0\n", [C, D], [False]),
        ("\ufeffa.jpg b.jpg 1\n", [A, B], [True]),
    ],
)
@pytest.mark.parametrize("name", ["pairs.txt", "pairs.CSV", "pairs.tsv"])
def test_reads_lists(gallery: Path, text: str, images: list[bytes], same: list[bool], name: str) -> None:
    pairs = read_pairs(_write(gallery, text.encode(), name))
    assert pairs.images == images
    assert pairs.same.tolist() == same


def test_lists_take_absolute_paths(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    line = f"{gallery / 'a.jpg'} {gallery / 'b.jpg'} 1"
    assert read_pairs(_write(tmp_path_factory.mktemp("other"), line.encode(), "p.txt")).images == [A, B]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"a.jpg b.jpg 1\na.jpg b.jpg\n", "line 2: .*must be path_a, path_b"),
        (b"# one\na.jpg b.jpg x.jpg 1\n", "line 2: .*must be"),
        (b"a.jpg b.jpg 2\n", "line 1: 'a.jpg b.jpg 2' must be"),
        (b"path_a,path_b,same\n", "line 1: .*same"),
        (b"a.jpg b.jpg 1\n\nno.jpg b.jpg 1\n", r"line 3: cannot read .*no\.jpg"),
        (b"people b.jpg 1\n", "line 1: cannot read"),
        (b"a.jpg,,1\n", "line 1"),
        (b'"a.jpg,b.jpg,1\n', "line 1"),
        (b"a.jpg b.jpg 1\na\xff.jpg b.jpg 1\n", "line 2: not UTF-8"),
        (b"# nothing\n", "no pairs"),
        (b"", "no pairs"),
    ],
)
def test_list_errors_name_the_line(gallery: Path, text: bytes, match: str) -> None:
    path = _write(gallery, text, "pairs.txt")
    with pytest.raises(PairsError, match=match) as caught:
        read_pairs(path)
    assert str(path) in str(caught.value)


# Writing


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
