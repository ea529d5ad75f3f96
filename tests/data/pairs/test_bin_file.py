"""InsightFace's `.bin` files: what real ones hold is read."""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from partialfc.data.pairs.files import read_pairs
from partialfc.errors import PairsError
from tests.data.pairs.cases import PROTOCOLS, A, B, C, D, refused, write
from tests.paths import MXNET

FIXTURE = MXNET / "glyphs_pairs.bin"


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
        np.array([[1], [0]]),
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
    pairs = read_pairs(write(tmp_path, pickle.dumps((images, flags), protocol=protocol)))
    assert pairs.images == [A, B, C, D]
    assert pairs.same.tolist() == [True, False]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("shape", [(-1, 1), (1, -1), (-1, 1, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_reads_images_as_opencv_once_gave_them(
    tmp_path: Path, protocol: int, shape: tuple[int, ...], order: str
) -> None:
    """An array [N, 1] of the encoded bytes, from `cv2.imencode` before OpenCV 4.5.2."""
    images = [np.array(np.frombuffer(image, np.uint8).reshape(shape), order=order) for image in (A, B, C, D)]
    pairs = read_pairs(write(tmp_path, pickle.dumps((images, [1, 0]), protocol=protocol)))
    assert pairs.images == [A, B, C, D]


def test_reads_bytearrays_and_text_that_stands_for_bytes(tmp_path: Path) -> None:
    images = [bytearray(A), B.decode("latin-1")]
    assert read_pairs(write(tmp_path, pickle.dumps((images, [1]), protocol=5))).images == [A, B]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "kind",
    [bytearray, np.bytes_, np.void, lambda data: np.frombuffer(data, np.int8)],
    ids=["bytearray", "bytes_", "void", "array"],
)
def test_reads_whatever_holds_bytes(tmp_path: Path, protocol: int, kind: Callable[[bytes], object]) -> None:
    listed = [kind(image) for image in (A, B)]
    array = np.empty(2, object)
    array[:] = listed
    for images in (listed, array, array[:, None]):
        assert read_pairs(write(tmp_path, pickle.dumps((images, [1]), protocol))).images == [A, B]
    with pytest.raises(PairsError, match="flag 0 is"):
        read_pairs(write(tmp_path, pickle.dumps(([A, B], [kind(A)]), protocol)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reads_arrays_of_bytes_and_of_objects(tmp_path: Path, protocol: int) -> None:
    """np.array(list_of_jpegs) fills them to one size with zeros, and gives them out without."""
    for images in (np.array([A, B, C, D]), np.array([A, B, C, D], object), np.array([[A], [B], [C], [D]])):
        for flags in ([True, False], np.array([True, False], object)):
            pairs = read_pairs(write(tmp_path, pickle.dumps((images, flags), protocol)))
            assert pairs.images == [A, B, C, D]
            assert pairs.same.tolist() == [True, False]
    empty = read_pairs(write(tmp_path, pickle.dumps(([bytearray(), A], [1]), protocol)))
    assert empty.images == [b"", A]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("images", "match"),
    [
        (
            np.ones((2, 5), np.uint8),
            r"the images are a NumPy array uint8 \[2, 5\]: they must be a list; write a",
        ),
        (np.array([["a", "b"]]), "the images: NumPy data of type str"),
        (np.array([[A, B], [C, D]], object), r"the images are a NumPy array object \(2, 2\): they must be a"),
        (
            np.array([[A, B], [C, D]]),
            r"the images are a NumPy array bytes \(2, 2\): they must be a list; write",
        ),
        (
            np.array([A, None], object),
            r"image 1 is of type NoneType: .*; write a list of the bytes of JPEG or PNG",
        ),
    ],
    ids=repr,
)
def test_other_images_are_named_with_a_remedy(
    tmp_path: Path, protocol: int, images: object, match: str
) -> None:
    refused(tmp_path, pickle.dumps((images, [True, False]), protocol), match)


# What Python 2.7's pickle and cPickle write, opcode by opcode; there is no Python 2 to ask any more.
def _python2_protocol_2(images: bytes, flags: bytes) -> bytes:
    return b"\x80\x02]q\x01(" + images + b"e]q\x05(" + flags + b"e\x86q\x06."


def _short_binstring(data: bytes, memo: int) -> bytes:
    return b"U" + bytes([len(data)]) + data + b"q" + bytes([memo])


def test_reads_python_2_protocol_0(tmp_path: Path) -> None:
    strings = b"".join(b"S%s\np%d\na" % (repr(image)[1:].encode(), i + 3) for i, image in enumerate((A, B)))
    data = b"((lp1\n" + strings + b"(lp9\nI01\natp10\n."
    pairs = read_pairs(write(tmp_path, data))
    assert pairs.images == [A, B]
    assert pairs.same.tolist() == [True]


def test_reads_python_2_strings(tmp_path: Path) -> None:
    long = b"T" + struct.pack("<i", len(B)) + B + b"q\x03"
    data = _python2_protocol_2(_short_binstring(A, 2) + long + b"h\x02h\x03", b"\x88K\x00")
    pairs = read_pairs(write(tmp_path, data))
    assert pairs.images == [A, B, A, B]
    assert pairs.same.tolist() == [True, False]


def test_reads_python_2_numpy(tmp_path: Path) -> None:
    dtype = b"cnumpy\ndtype\n(U\x02%sK\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        b"(K\x01(K%ct" % len(A) + dtype % b"u1" + b"\x89U" + bytes([len(A)]) + A + b"tb"
    )
    scalar = b"cnumpy.core.multiarray\nscalar\n(" + dtype % b"b1" + b"U\x01\x01tR"
    pairs = read_pairs(write(tmp_path, _python2_protocol_2(array + _short_binstring(B, 9), scalar)))
    assert pairs.images == [A, B]
    assert pairs.same.tolist() == [True]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (([A, B, C], [True]), "3 images for 1 flags"),
        (([A, B], [True, False]), "2 images for 2 flags"),
        (([], []), "no pairs"),
        ([A, B], "list of 2"),
        (([A, B], [True], []), "tuple of 3"),
        (([A, B], True), "the flags are of type bool: they must be a list"),
        (([A, B], {0: True}), "the flags are of type dict: they must be a list"),
        (([A, B], {True}), "the flags are of type set: they must be a list"),
        (([A, B], "1"), "the flags are of type str: they must be a list"),
        (([A, B], 1.0), "the flags are of type float: they must be a list"),
        (([A, B], [1.0]), "flag 0 is of type float: it must be a bool, or 0 or 1"),
        (([A, B], ["1"]), "flag 0 is of type str"),
        (([A, B], [np.float64(1)]), "flag 0: NumPy data of type float64, only bools and integers"),
        (([A, B], np.array([1], np.float16)), "the flags: NumPy data of type float16,"),
        (([A, B], np.array([1], np.complex64)), "the flags: NumPy data of type complex64,"),
        (([A, B], np.array(["1"])), "the flags: NumPy data of type str,"),
        (([A, B], np.array([b"1"])), "flag 0 is of type bytes: it must be a bool"),
        (([A, B], np.array([[True]] * 2, object)[:, :0]), "the flags are a NumPy array object"),
        (([A, B], np.array(["2020"], "M8[D]")), "the flags: NumPy data of type datetime64,"),
        (([A, B], np.array([[True, False]] * 2)), r"the flags are a NumPy array bool \[2, 2\]"),
        (([A, B], np.array(True)), r"the flags are a NumPy array bool \[\]"),
        (A, "type bytes"),
        (None, "NoneType"),
        (([A, 7], [True]), "image 1 is of type int"),
        (([A, [B]], [True]), "image 1 is a list of 1"),
        (([A, "\u2603"], [True]), "image 1 is of type str"),
        (([A, np.arange(3)], [True]), r"image 1 is a NumPy array int64 \[3\]: it must be an encoded image's"),
        (
            ([A, np.ones((2, 2, 3), np.uint8)], [True]),
            r"NumPy array uint8 \[2, 2, 3\]: .*, not its pixels; write a list of the bytes of JPEG",
        ),
        (([A, np.ones((2, 2), np.uint8)], [True]), r"image 1 is a NumPy array uint8 \[2, 2\]"),
        (([A, np.array(7, np.uint8)], [True]), r"image 1 is a NumPy array uint8 \[\]"),
        (([A, np.ones(3)], [True]), "image 1: NumPy data of type float64"),
        (([A, B], [2]), "flag 0 is 2"),
        (([A, B], [None]), "flag 0 is of type NoneType"),
        (([A, B], np.array([-1])), "flag 0 is -1"),
    ],
    ids=repr,
)
def test_wrong_structure(tmp_path: Path, content: object, match: str) -> None:
    refused(tmp_path, pickle.dumps(content), match)
