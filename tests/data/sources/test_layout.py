"""Which records are images: record 0 wherever builders put it, whatever it says, or none."""

from pathlib import Path

import pytest

from partialfc.data.sources.insightface import RecordSource
from partialfc.data.sources.recordio import Header, RecordWriter, pack
from partialfc.errors import RecordError
from tests.data.sources.records import images_of, plain, write_index, write_records


def test_a_file_without_record_0_header_is_images_only(tmp_path: Path) -> None:
    source = RecordSource(plain(tmp_path / "a.rec", 2, 0, 1))
    assert (len(source), source.num_classes) == (3, 3)
    assert [source.read(index)[1] for index in range(3)] == [2, 0, 1]
    assert source.name(0) == f"{tmp_path}/a.rec record 0"


@pytest.mark.parametrize("place", ["first", "between", "last"])
@pytest.mark.parametrize("indexed", [True, False])
def test_record_0_is_found_wherever_builders_put_it(tmp_path: Path, place: str, indexed: bool) -> None:
    """InsightFace's face2rec2 puts it between the images and the class records, RecBuilder at the end."""
    images = [(key, pack(Header(2, (key // 3, 1), key), b"image %d" % key)) for key in range(1, 10)]
    spans = [(1, 3), (3, 6), (6, 9), (9, 10)]
    classes = [(10 + at, pack(Header(2, span, 10 + at), b"")) for at, span in enumerate(spans)]
    header = [(0, pack(Header(2, (10, 14)), b""))]
    records = {
        "first": header + images + classes,
        "between": images + header + classes,
        "last": images + classes + header,
    }[place]
    path = tmp_path / "train.rec"
    with RecordWriter(path) as writer:
        offsets = [writer.write(at, payload) for at, (_, payload) in enumerate(records)]
    write_index(path, [(key, offset) for (key, _), offset in zip(records, offsets, strict=True)])
    if not indexed:
        path.with_suffix(".idx").unlink()
    assert images_of(path) == [(b"image %d" % n, n // 3) for n in range(1, 10)]
    assert RecordSource(path).num_classes == 4


@pytest.mark.parametrize("indexed", [True, False])
def test_record_0_may_come_last(tmp_path: Path, indexed: bool) -> None:
    """As InsightFace's RecBuilder writes it: with the key 0, behind the class records."""
    records = {1: pack(Header(0, (0,), 1), b"x"), 2: pack(Header(0, (3,), 2), b"y")}
    records |= {3: pack(Header(2, (1, 2), 3), b""), 4: pack(Header(2, (2, 3), 4), b"")}
    path = write_records(tmp_path / "train.rec", records | {9: pack(Header(2, (3, 5), 0, 1), b"")})
    index = path.with_suffix(".idx")
    index.write_text(index.read_text().replace("9\t", "0\t"))
    if not indexed:
        index.unlink()
    assert images_of(path) == [(b"x", 0), (b"y", 3)]
    assert RecordSource(path).num_classes == 4


def test_record_0_may_give_the_number_of_classes(tmp_path: Path) -> None:
    """As many converters write it: `[one past the last image, number of classes]`, without class records."""
    labels = [0, 0, 1, 1]
    records = {0: pack(Header(2, (5, 2)), b"")}
    records |= {key: pack(Header(0, (label,)), b"x") for key, label in enumerate(labels, start=1)}
    path = write_records(tmp_path / "train.rec", records)
    assert images_of(path) == [(b"x", label) for label in labels]
    assert RecordSource(path).num_classes == 2


@pytest.mark.parametrize("label", [(0.0, 5.0), (2.5, 5.0), (5.0, -2.0), (float("nan"), 2.0), (1e30, 2.0)])
def test_a_bad_record_0_is_named(tmp_path: Path, label: tuple[float, float]) -> None:
    path = write_records(tmp_path / "a.rec", {0: pack(Header(2, label), b""), 1: pack(Header(0, (0,)), b"i")})
    with pytest.raises(RecordError, match=r"a\.rec record 0: label \["):
        RecordSource(path)


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", {0: pack(Header(2, (1, 1)), b"")})
    with pytest.raises(RecordError, match="holds no image record"):
        RecordSource(path)


def test_images_that_record_0_promises_in_vain_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As from a packer that leaves out unreadable images and keeps their keys."""
    records = {
        0: pack(Header(2, (4, 5)), b""),
        1: pack(Header(0, (0,)), b"x"),
        3: pack(Header(0, (0,)), b"z"),
    }
    records[4] = pack(Header(2, (1, 4)), b"")
    path = write_records(tmp_path / "a.rec", records)
    for _ in ("indexed", "scanned"):
        assert images_of(path) == [(b"x", 0), (b"z", 0)]
        assert RecordSource(path).num_classes == 1
        assert "record 0 promises 3 images, there are 2" in caplog.text
        caplog.clear()
        path.with_suffix(".idx").unlink(missing_ok=True)


@pytest.mark.parametrize("images_end", [2**24 + 1, 2**24 + 6, 2**24 + 7])
@pytest.mark.parametrize("classes", [0, 3])
def test_more_images_than_float32_counts(tmp_path: Path, images_end: int, classes: int) -> None:
    """Record 0's numbers are rounded to float32 then; what has no image is a class record."""
    records = {0: pack(Header(2, (images_end, images_end + classes)), b"")}
    records |= {key: pack(Header(0, (0,)), b"i") for key in range(2**24 - 9, images_end)}
    records |= {key: pack(Header(2, (1, 2)), b"") for key in range(images_end, images_end + classes)}
    source = RecordSource(write_records(tmp_path / "a.rec", records))
    assert len(source) == images_end - (2**24 - 9)
    assert source.num_classes == (classes or 1)
    assert source.read(len(source) - 1) == (b"i", 0)
