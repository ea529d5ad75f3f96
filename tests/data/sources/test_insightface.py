"""InsightFace's record layout: reading MXNet's files, writing our own, refusing bad labels."""

import logging
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from partialfc.data.images.codec import decode
from partialfc.data.sources.insightface import RecordSource, write_source
from partialfc.data.sources.record_reader import RecordReader
from partialfc.data.sources.recordio import Header, pack, unpack
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError, LabelError, RecordError
from tests.data.sources.records import plain, write_records
from tests.paths import MXNET

FIXTURE = MXNET


def test_mxnets_file_reads_as_the_readme_says() -> None:
    source = open_source(FIXTURE / "train.rec")
    assert isinstance(source, RecordSource)
    assert (len(source), source.num_classes) == (128, 16)
    assert source.name(0) == f"{FIXTURE}/train.rec record 1"
    for index in range(128):
        image, label = source.read(index)
        assert label == index // 8
        assert decode(image).shape == (112, 112, 3)
    assert pickle.loads(pickle.dumps(source)).read(77) == source.read(77)
    for index in (-1, 128):
        with pytest.raises(IndexError, match=f"index {index} .* 128 images"):
            source.read(index)


def test_num_classes_without_property_comes_from_the_class_records(tmp_path: Path) -> None:
    for name in ("train.rec", "train.idx"):
        shutil.copyfile(FIXTURE / name, tmp_path / name)
    assert RecordSource(tmp_path / "train.rec").num_classes == 16
    (tmp_path / "train.idx").unlink()
    source = RecordSource(tmp_path / "train.rec")
    assert (len(source), source.num_classes) == (128, 16)


def test_our_file_has_mxnets_layout(tmp_path: Path) -> None:
    """Same images, same ids: the records equal MXNet's, but label vectors are scalars here."""
    source = RecordSource(FIXTURE / "train.rec")
    samples = (source.read(index) for index in range(128))
    assert write_source(tmp_path / "train.rec", samples, num_classes=16, image_size=(112, 112)) == 128
    assert (tmp_path / "property").read_bytes() == (FIXTURE / "property").read_bytes()
    with RecordReader(tmp_path / "train.rec") as ours, RecordReader(FIXTURE / "train.rec") as theirs:
        assert list(ours.keys) == list(theirs.keys)
        for key in range(145):
            if key % 5 or key > 128 or key == 0:
                assert ours.read(key) == theirs.read(key)
            else:
                (header, image), (expected, expected_image) = unpack(ours.read(key)), unpack(theirs.read(key))
                assert (header.label[0], image) == (expected.label[0], expected_image)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["property", "train.idx", "train.rec"]


def test_classes_without_images_are_written_as_empty_ranges(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    write_source(path, [(b"x", 1), (b"y", 1), (b"z", 3)], num_classes=5, image_size=(8, 9))
    source = RecordSource(path)
    assert [source.read(index) for index in range(len(source))] == [(b"x", 1), (b"y", 1), (b"z", 3)]
    assert source.num_classes == 5
    with RecordReader(path) as reader:
        ranges = [unpack(reader.read(key))[0].label for key in range(4, 9)]
    assert ranges == [(1, 1), (1, 3), (3, 3), (3, 4), (4, 4)]
    assert (tmp_path / "property").read_text() == "5,8,9\n"


def test_a_record_without_image_or_header_is_named(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", {0: pack(Header(0, (0,)), b""), 1: b"short"})
    (tmp_path / "property").write_text("1,8,8\n")
    source = RecordSource(path)
    with pytest.raises(RecordError, match=r"a\.rec record 0: holds no image"):
        source.read(0)
    with pytest.raises(RecordError, match=r"a\.rec record 1: payload of 5 bytes"):
        source.read(1)


def test_the_property_of_insightfaces_newer_builder_is_read(tmp_path: Path) -> None:
    """Its second line is the number of records."""
    (tmp_path / "property").write_text("6,112,112\n19\n")
    assert RecordSource(plain(tmp_path / "a.rec", 0, 1)).num_classes == 6


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "16",
        "16,112",
        "0,112,112",
        "a,112,112",
        "-1,112,112",
        "16.0,112,112",
        "9" * 5000 + ",1,1",
        "1,112," + "9" * 5000,
        "99999999999999999999,112,112",
        f"{2**53 + 1},112,112",
        "\u0661,112,112",
    ],
)
def test_a_bad_property_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "property").write_text(text)
    with pytest.raises(
        DataError, match=r"property: .* is not `num_classes,height,width`, .*delete the file"
    ) as error:
        RecordSource(plain(tmp_path / "a.rec", 0))
    assert len(str(error.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (
            [(b"x", 0), (b"y", 2)],
            LabelError,
            r"label 2 at sample 1: num_classes is 2, so labels must be 0\.\.1",
        ),
        ([(b"x", -1)], LabelError, "label -1 at sample 0"),
        ([(b"x", 1), (b"y", 0)], ValueError, "label 0 at sample 1 follows 1: labels must ascend"),
        ([(b"", 0)], DataError, "sample 0 with label 0: the image is empty"),
        ([], DataError, "no samples"),
    ],
)
def test_bad_samples_are_refused_and_leave_nothing_behind(
    tmp_path: Path, samples: list[tuple[bytes, int]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write_source(tmp_path / "a.rec", samples, num_classes=2, image_size=(8, 8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("num_classes", "image_size"), [(0, (8, 8)), (1, (0, 8)), (1, (8, -1))])
def test_bad_sizes_are_refused(tmp_path: Path, num_classes: int, image_size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        write_source(tmp_path / "a.rec", [(b"x", 0)], num_classes=num_classes, image_size=image_size)


def test_a_failing_stream_keeps_the_files_that_were_there(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    write_source(path, [(b"x", 0)], num_classes=1, image_size=(8, 8))
    before = {found.name: found.read_bytes() for found in tmp_path.iterdir()}

    def broken() -> Iterator[tuple[bytes, int]]:
        yield b"y", 0
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        write_source(path, broken(), num_classes=3, image_size=(9, 9))
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == before


def test_a_property_that_another_file_relies_on_is_kept(tmp_path: Path) -> None:
    write_source(tmp_path / "a.rec", [(b"x", 0)], num_classes=2, image_size=(8, 8))
    write_source(tmp_path / "b.rec", [(b"x", 0)], num_classes=2, image_size=(8, 8))
    with pytest.raises(
        DataError, match=r"property: belongs to .* num_classes than 3; write to a folder of its own"
    ):
        write_source(tmp_path / "b.rec", [(b"x", 0)], num_classes=3, image_size=(8, 8))


def test_open_source_says_what_it_cannot_open(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_source(tmp_path / "a.rec")
    (tmp_path / "a.csv").touch()
    with pytest.raises(DataError, match=r"a\.csv: is not a \.rec file, a folder"):
        open_source(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"name one of them, such as .*train\.rec"):
        open_source(FIXTURE)


@pytest.mark.parametrize(
    "text", ["\ufeff6,112,112\n", "\n  \n6,112,112\n19\n", "\r\n6 , 112, 112\r\n", "06,1,1"]
)
def test_a_property_file_with_a_byte_order_mark_or_blank_lines_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "property").write_bytes(text.encode())
    assert RecordSource(plain(tmp_path / "a.rec", 0, 1)).num_classes == 6


@pytest.mark.parametrize("class_records", [True, False])
def test_classes_without_images_are_counted_where_property_says_too_few(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, class_records: bool
) -> None:
    """As some packers write it: a class record for each class that has an image."""
    caplog.set_level(logging.WARNING, logger="partialfc")
    path = tmp_path / "a.rec"
    records = {0: pack(Header(2, (4, 7)), b"")} if class_records else {}
    records |= {key: pack(Header(0, (label,)), b"i") for key, label in enumerate((0, 5, 9), start=1)}
    if class_records:
        records |= {key: pack(Header(2, (key - 3, key - 2)), b"") for key in (4, 5, 6)}
    (tmp_path / "property").write_text("3,8,8\n")
    source = RecordSource(write_records(path, records))
    assert (source.num_classes, source.least_classes) == (3, 10)
    assert caplog.messages == [f"{path}: 7 of 10 classes have no image"]


@pytest.mark.parametrize("rec", ["class records", "property", "neither"])
def test_classes_without_images_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rec: str
) -> None:
    caplog.set_level(logging.WARNING, logger="partialfc")
    path = tmp_path / "a.rec"
    if rec == "class records":
        write_source(path, [(b"x", 1), (b"y", 1), (b"z", 4)], num_classes=5, image_size=(8, 9))
    else:
        plain(path, 1, 1, 4)
    if rec == "property":
        (tmp_path / "property").write_text("5,8,9\n")
    assert RecordSource(path).num_classes == 5
    assert caplog.messages == [f"{path}: 3 of 5 classes have no image"]
    caplog.clear()
    RecordSource(plain(tmp_path / "b.rec", 0, 1, 2, 3, 4))
    assert caplog.messages == []
