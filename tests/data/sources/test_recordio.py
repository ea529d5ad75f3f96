"""RecordIO against MXNet's own files, round trips, and every way a file can be damaged."""

import os
import pickle
import shutil
import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.data.images.codec import decode
from partialfc.data.sources.record_reader import RecordReader
from partialfc.data.sources.recordio import Header, RecordWriter, pack, unpack
from partialfc.errors import DataError, RecordError, RecordIndexError
from tests.paths import MXNET

FIXTURE = MXNET
MAGIC = bytes.fromhex("0a23d7ce")


def frame(payload: bytes, flag: int = 0) -> bytes:
    """One frame, spelt out from the format: the plain twin of the writer."""
    return MAGIC + struct.pack("<I", flag << 29 | len(payload)) + payload + bytes(-len(payload) % 4)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A .rec with its .idx that a test may damage."""
    for name in ("train.rec", "train.idx"):
        shutil.copyfile(FIXTURE / name, tmp_path / name)
    return tmp_path / "train.rec"


def write(path: Path, *payloads: bytes) -> Path:
    with RecordWriter(path) as writer:
        for key, payload in enumerate(payloads):
            writer.write(key, payload)
    return path


def test_rewriting_mxnets_files_gives_the_same_bytes(tmp_path: Path) -> None:
    with RecordReader(FIXTURE / "train.rec") as reader, RecordWriter(tmp_path / "train.rec") as writer:
        for key in reader.keys:
            writer.write(key, pack(*unpack(reader.read(key))))
    for name in ("train.rec", "train.idx"):
        assert (tmp_path / name).read_bytes() == (FIXTURE / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.idx", "train.rec"]


def test_mxnets_records_hold_what_the_readme_says() -> None:
    with RecordReader(FIXTURE / "train.rec") as reader:
        assert list(reader.keys) == list(range(145))
        header, image = unpack(reader.read(0))
        assert (header, image) == (Header(2, (129.0, 145.0)), b"")
        for key in range(1, 129):
            header, image = unpack(reader.read(key))
            expected = float((key - 1) // 8)
            assert header.label == ((expected, 0.0) if key % 5 == 0 else (expected,))
            assert header.id == key
            assert decode(image).shape == (112, 112, 3)
        for label, key in enumerate(range(129, 145)):
            header, image = unpack(reader.read(key))
            assert (header.label, image) == ((1.0 + 8 * label, 9.0 + 8 * label), b"")


def test_without_an_index_the_scan_gives_the_same_records(copy: Path) -> None:
    copy.with_suffix(".idx").unlink()
    with RecordReader(copy) as scanned, RecordReader(FIXTURE / "train.rec") as indexed:
        assert list(scanned.keys) == list(range(145))
        assert all(scanned.read(key) == indexed.read(key) for key in range(145))


MAGIC_PAYLOAD = st.lists(st.sampled_from([MAGIC, MAGIC[:2], b"\0", b"jpeg"]) | st.binary(max_size=9)).map(
    b"".join
)


@given(payloads=st.lists(MAGIC_PAYLOAD, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_payloads_come_back_with_and_without_an_index(payloads: list[bytes]) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.rec", *payloads)
        with RecordReader(path) as reader:
            assert [reader.read(key) for key in range(len(payloads))] == payloads
        path.with_suffix(".idx").unlink()
        with RecordReader(path) as reader:
            assert [reader.read(key) for key in reader.keys] == payloads


@pytest.mark.parametrize(
    ("payload", "layout"),
    [
        (b"", frame(b"")),
        (b"abcde", frame(b"abcde")),
        (b"ab" + MAGIC + b"cd", frame(b"ab" + MAGIC + b"cd")),  # not aligned: stays whole
        (b"abcd" + MAGIC[:3], frame(b"abcd" + MAGIC[:3])),
        (MAGIC, frame(b"", 1) + frame(b"", 3)),
        (b"abcd" + MAGIC + b"efghi", frame(b"abcd", 1) + frame(b"efghi", 3)),
        (b"abcd" + MAGIC + MAGIC + b"e", frame(b"abcd", 1) + frame(b"", 2) + frame(b"e", 3)),
    ],
)
def test_the_layout_is_that_of_dmlc(tmp_path: Path, payload: bytes, layout: bytes) -> None:
    path = write(tmp_path / "a.rec", payload)
    assert path.read_bytes() == layout
    with RecordReader(path) as reader:
        assert reader.read(0) == payload


@given(
    label=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5),
    record_id=st.integers(0, 2**64 - 1),
    image=st.binary(max_size=20),
    vector=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_headers_come_back(label: list[float], record_id: int, image: bytes, vector: bool) -> None:
    header = (
        Header(len(label), tuple(label), record_id, 3) if vector else Header(0, (label[0],), record_id, 3)
    )
    assert unpack(pack(header, image)) == (header, image)


def test_labels_that_do_not_fit_the_flag_are_refused() -> None:
    for header in (Header(0, (1.0, 2.0)), Header(2, (1.0,)), Header(0, ())):
        with pytest.raises(ValueError, match=f"flag is {header.flag}"):
            pack(header, b"")


def test_a_payload_too_short_for_its_header_is_refused() -> None:
    with pytest.raises(RecordError, match="23 bytes"):
        unpack(bytes(23))
    with pytest.raises(RecordError, match="flag 9 promises 9 labels"):
        unpack(pack(Header(2, (0.0, 0.0)), b"").replace(b"\x02", b"\x09", 1))


def test_keys_may_have_gaps_and_any_order_in_the_index(tmp_path: Path) -> None:
    """As im2rec writes them: keys are lines of a shuffled list, without those of unreadable images."""
    path = tmp_path / "a.rec"
    keys = [7, 60, 140, 3]
    path.write_bytes(b"".join(frame(b"%d" % key) for key in keys))
    lines = [f"{key}\t{12 * place}" for place, key in enumerate(keys)]
    path.with_suffix(".idx").write_text("\n".join(lines[::-1]))  # no newline at the end either
    with RecordReader(path) as reader:
        assert list(reader.keys) == sorted(keys)
        assert [reader.read(key) for key in keys] == [b"%d" % key for key in keys]
        for missing in (-1, 0, 8, 141):
            with pytest.raises(RecordError, match=f"no record {missing}; its 4 keys lie in 3..140"):
                reader.read(missing)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3 5592", r"line 4: b'3 5592\\n' is not"),
        ("3\t5592\t1", "line 4: .* is not"),
        ("", "line 4: .* is not"),
        ("3\t", "line 4: .* is not"),
        ("3\t-5592", "line 4: .* is not"),
        ("3\t5592\r", "line 4: .* is not"),
        ("cat\t5592", "line 4: .* is not"),
        ("3\t55٩2", "line 4: .* is not"),
        ("3\t" + "9" * 19, "line 4: .* is not"),
        ("3\t" + "8" * 16, "lists 1 of 145 records beyond the .rec's end, byte 376548"),
        ("3\t376544", "lists 1 of 145 records beyond"),
        ("3\t5593", "line 4: offset 5593 must be a multiple of 4"),
        ("2\t5592", "line 4: key 2 appears twice"),
        ("99\t5592", "line 100: key 99 appears twice"),
    ],
)
def test_a_bad_index_line_is_named(copy: Path, line: str, message: str) -> None:
    index = copy.with_suffix(".idx")
    lines = index.read_text().splitlines()
    lines[3] = line
    index.write_bytes("".join(f"{line}\n" for line in lines).encode())
    with pytest.raises(RecordIndexError, match=rf"train\.idx: {message}.*; delete it to have the \.rec"):
        RecordReader(copy)


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("cut", [1, 31, 33, 39])
def test_a_truncated_file_is_found_at_opening(copy: Path, cut: int, indexed: bool) -> None:
    copy.write_bytes(copy.read_bytes()[:-cut])
    if not indexed:
        copy.with_suffix(".idx").unlink()
    with pytest.raises(
        RecordError, match=r"idx lists 1 of 145 records|record 144 at byte 376508: .*(past the end|cut)"
    ):
        RecordReader(copy)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (frame(b"abcd") + bytes(8), "record 1 at byte 12: starts with 0x00000000"),
        (frame(b"abcd") + MAGIC, "record 1 at byte 12: the file ends at byte 16"),
        (frame(b"abcd") + MAGIC + struct.pack("<I", 5) + b"abcd", "record 1 at byte 12: length 5 runs past"),
        (frame(b"abcd", 2), "record 0 at byte 0: continuation flag 2, only 0 or 1"),
        (frame(b"abcd", 3), "record 0 at byte 0: continuation flag 3, only 0 or 1"),
        (frame(b"abcd", 1) + frame(b"", 0), "record 0 at byte 12: continuation flag 0, only 2 or 3"),
        (frame(b"abcd", 1) + frame(b"", 1), "record 0 at byte 12: continuation flag 1, only 2 or 3"),
        (frame(b"abcd", 1), "record 0 at byte 12: the file ends at byte 12"),
        (frame(b"abcd", 7), "record 0 at byte 0: continuation flag 7"),
    ],
)
def test_bad_framing_is_named_with_record_and_offset(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "bad.rec"
    path.write_bytes(data)
    with pytest.raises(RecordError, match=rf"bad\.rec {message}"):
        RecordReader(path)


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.rec").touch()
    with pytest.raises(RecordError, match=r"empty\.rec: the file is empty"):
        RecordReader(tmp_path / "empty.rec")
    with pytest.raises(RecordError, match=r"none\.rec: cannot be opened: No such file"):
        RecordReader(tmp_path / "none.rec")
    (tmp_path / "folder.rec").mkdir()
    with pytest.raises(DataError, match=r"folder\.rec: cannot be read: Is a directory"):
        RecordReader(tmp_path / "folder.rec")


@pytest.mark.filterwarnings("ignore:.* is multi-threaded, use of fork")  # the child only reads
def test_a_reader_pickles_and_reads_in_a_fork() -> None:
    reader = RecordReader(FIXTURE / "train.rec")
    expected = reader.read(17)
    assert pickle.loads(pickle.dumps(reader)).read(17) == expected

    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(send, reader.read(17))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(receive, 1 << 16) == expected
    os.close(receive)
    os.close(send)
    reader.close()
    assert reader.read(17) == expected, "a closed reader opens the file again"
    reader.close()


def test_a_large_index_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partialfc.data.sources.index_lines.BLOCK", 100)
    path = write(tmp_path / "a.rec", *(b"%d" % key for key in range(500)))
    with RecordReader(path) as reader:
        assert list(reader.keys) == list(range(500))
        assert reader.read(321) == b"321"
    with path.with_suffix(".idx").open("ab") as index:
        index.write(b"garbage\n")
    with pytest.raises(RecordIndexError, match="line 501: b'garbage"):
        RecordReader(path)


def test_the_writer_refuses_bad_calls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.rec"):
        RecordWriter(tmp_path / "a.dat")
    for key in (5, 4, -1):
        with RecordWriter(tmp_path / f"{key}.rec") as writer:
            writer.write(5, b"a")
            with pytest.raises(ValueError, match=f"key {key} after 5: keys must ascend"):
                writer.write(key, b"b")
        with RecordReader(tmp_path / f"{key}.rec") as reader:
            assert list(reader.keys) == [5]


def test_an_error_while_writing_keeps_the_files_that_were_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", b"old")

    def fail() -> None:
        with RecordWriter(path) as writer:
            writer.write(0, b"new")
            raise KeyError("the caller's")

    with pytest.raises(KeyError, match="the caller's"):
        fail()
    with RecordReader(path) as reader:
        assert reader.read(0) == b"old"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.idx", "a.rec"]
