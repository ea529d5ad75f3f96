"""Class ids from labels: whole and exact, and not from vectors that hold something else."""

from pathlib import Path

import pytest

from partialfc.data.sources.insightface import RecordSource, write_source
from partialfc.data.sources.recordio import Header, pack
from partialfc.errors import LabelError
from tests.data.sources.records import lines_of, plain, write, write_records
from tests.paths import MXNET
from tests.train_cases import write_class_records


@pytest.mark.parametrize("label", [0.5, float("nan"), float("inf")])
def test_labels_must_be_whole(tmp_path: Path, label: float) -> None:
    path = plain(tmp_path / "a.rec", 0, label)
    with pytest.raises(LabelError, match=rf"label {label:g} in .*a\.rec record 1: .* whole number"):
        RecordSource(path)  # scans, having no property
    (tmp_path / "property").write_text("2,8,8")
    with pytest.raises(LabelError, match=r"record 1: .* whole number"):
        RecordSource(path)


def test_negative_labels_are_named(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.rec", 0, -1)
    with pytest.raises(LabelError, match=r"label -1 in .*a\.rec record 1: .*must not be negative"):
        RecordSource(path)


def test_a_label_that_no_class_id_can_have_is_named(tmp_path: Path) -> None:
    records = {0: pack(Header(0, (2.0**63,), 0, 2**63), b"i")}
    with pytest.raises(LabelError, match=r"record 0: a class id must be below 2\*\*53"):
        RecordSource(write_records(tmp_path / "a.rec", records))


def test_class_ids_beyond_float32_stay_exact(tmp_path: Path) -> None:
    ids = [2**24 - 1, 2**24, 2**24 + 1, 2**24 + 2]
    records = {0: pack(Header(0, (0,)), b"i")}
    records |= {1 + at: pack(Header(0, (label,), 0, label), b"i") for at, label in enumerate(ids)}
    (tmp_path / "property").write_text(f"{2**24 + 9},8,8\n")
    source = RecordSource(write_records(tmp_path / "a.rec", records))
    assert [source.read(1 + at)[1] for at in range(4)] == ids
    records[9] = pack(Header(0, (2**24 + 1,)), b"i")  # as MXNet would write it: ambiguous
    with pytest.raises(LabelError, match=r"record 9: float32 cannot tell class ids apart"):
        RecordSource(write_records(tmp_path / "a.rec", records))


def vectors(path: Path, *labels: tuple[float, ...]) -> Path:
    return write_records(
        path, {key: pack(Header(len(label), label, key), b"image") for key, label in enumerate(labels)}
    )


def test_a_detection_file_is_refused(tmp_path: Path) -> None:
    """MXNet's layout: [header width, object width, (width, height), class, corners]; not [class, ...]."""
    boxes = [(4, 5, 80, 60, kind, 0.1, 0.2, 0.5, 0.1 * kind + 0.3) for kind in (2.0, 0.0, 1.0)]
    with pytest.raises(
        LabelError, match=r"a\.rec: .* \[4, 5, 80, .* all with 4 first, .* boxes for detection"
    ):
        RecordSource(vectors(tmp_path / "a.rec", *boxes))


def test_vectors_of_attributes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"vectors of 0 and 1 such as \[0, 1, 1\], .* attributes or one-hot"):
        RecordSource(vectors(tmp_path / "a.rec", (0, 1, 1), (1, 0, 0), (0, 0, 1)))
    with pytest.raises(LabelError, match=r"all with 7 first, so they hold something else than class ids"):
        RecordSource(vectors(tmp_path / "b.rec", (7, 1.5), (7, 2), (7, 3)))


@pytest.mark.parametrize(
    "labels",
    [
        [(0, 0), (0, 0), (1, 0)],
        [(0, 1), (1, 1), (2, 1)],
        [(0, 0), (0, 0)],
        [(0, 0.5, 0.1, 0.2), (3, 0.5, 0.5, 0.4)],
        [(4, 5, 80, 60, 2, 0.1, 0.2, 0.5, 0.5)],
        [(0, 0, 0), (1, 0, 0)],
    ],
)
def test_vectors_that_begin_with_a_class_id_are_read(tmp_path: Path, labels: list[tuple[float, ...]]) -> None:
    source = RecordSource(vectors(tmp_path / "a.rec", *labels))
    assert [source.read(index)[1] for index in range(len(source))] == [label[0] for label in labels]


def test_all_class_ids_are_those_of_the_records(tmp_path: Path) -> None:
    """With class records, which say where each class begins, without, and where they are wrong."""
    for path in (MXNET / "train.rec", write(tmp_path / "a.rec", 23), plain(tmp_path / "b.rec", 3, 0, 3, 1)):
        source = RecordSource(path)
        assert source.class_ids().tolist() == [source.class_id(index) for index in range(len(source))]
    images = [(float(label), b"image") for label in [0] * 9 + [1] * 2 + [2]]
    write_class_records(tmp_path / "c.rec", images, classes=3)
    assert RecordSource(tmp_path / "c.rec").class_ids().tolist() == [0] * 9 + [1] * 2 + [2]


def test_with_class_records_few_labels_are_read(tmp_path: Path) -> None:
    """A file of 3,000 images in 3 classes, in which every record but nine is damaged, says all the same."""
    path = tmp_path / "a.rec"
    write_source(path, [(b"image", n // 1000) for n in range(3000)], num_classes=3, image_size=(8, 8))
    source = RecordSource(path)
    known = {0, 1, 999, 1000, 1001, 1999, 2000, 2001, 2999}
    with path.open("r+b") as file:
        for line in lines_of(path):
            key, offset = map(int, line.split())
            if 1 <= key <= 3000 and key - 1 not in known:
                file.seek(offset)
                file.write(b"gone")
    assert source.class_ids().tolist() == [index // 1000 for index in range(3000)]


def test_a_damaged_record_has_no_class_id(tmp_path: Path) -> None:
    records = {key: pack(Header(0, (key % 2,), key), b"image") for key in range(4)}
    (tmp_path / "property").write_text("2,8,8\n")
    source = RecordSource(write_records(tmp_path / "a.rec", records | {2: b"short"}))
    assert source.class_ids().tolist() == [0, 1, -1, 1]
