"""Labels: out of range, with gaps, and how many images their classes have."""

import math
import struct

import numpy as np
import pytest

from partialfc.data.sources.insightface import write_source
from partialfc.data.sources.pack import pack_source
from partialfc.data.sources.source import open_source
from partialfc.doctor import Level
from partialfc.doctor.labels import Labels, judge_class_sizes, judge_labels, read_labels
from tests.data.sources.cases import png
from tests.doctor.cases import found, quick
from tests.doctor.data_cases import assert_green, trains


def test_too_few_classes_are_red_and_too_many_yellow(folder):
    few = quick(folder, "data.num_classes=19")
    assert found(few, "num_classes").level == Level.RED
    assert found(few, "labels").level == Level.RED
    many = quick(folder, "data.num_classes=21")
    assert found(many, "num_classes").level == Level.YELLOW
    assert found(many, "labels").level == Level.GREEN


def test_labels_out_of_range_are_red_and_the_first_is_named(folder):
    (folder / "property").write_text("15,8,8\n")
    report = quick(folder)
    check = found(report, "labels")
    assert check.level == Level.RED
    assert "30 of 120" in check.says
    assert f"15 in {folder}/train.rec record 91" in check.says
    assert check.remedy == found(report, "num_classes").remedy
    assert "data.num_classes to 20 or more, or" in check.remedy
    assert f"partialfc data pack {folder}/train.rec OUT --relabel" in check.remedy
    assert_green(quick(folder, "data.num_classes=20"))
    packed = pack_source(folder / "train.rec", folder / "out", relabel=True)
    assert_green(quick(folder, f"data.train={packed.path}"))


def test_labels_with_gaps_are_told_once_and_every_remedy_works(folder):
    """Only every fifth class has images; property says no more than that there are so many."""
    image = png(1)
    labels = [label for label in range(0, 20, 5) for _ in range(6)]
    write_source(folder / "train.rec", [(image, n) for n in labels], num_classes=None, image_size=(8, 8))
    (folder / "property").write_text("4,8,8\n")
    report = quick(folder)
    assert found(report, "num_classes").level == Level.RED
    assert "says 4 classes, and has a label 15" in found(report, "num_classes").says
    assert found(report, "labels").level == Level.RED
    assert found(report, "labels").remedy == found(report, "num_classes").remedy
    roomy = quick(folder, "data.num_classes=16")
    assert found(roomy, "num_classes").level == found(roomy, "labels").level == Level.GREEN
    sizes = found(roomy, "class sizes")
    assert sizes.level == Level.YELLOW
    assert sizes.remedy == (
        f"leave out classes without images: partialfc data pack {folder}/train.rec OUT --relabel"
    )
    trains(folder, "data.num_classes=16")
    packed = pack_source(folder / "train.rec", folder / "out", relabel=True)
    assert_green(quick(folder, f"data.train={packed.path}"))
    few = quick(folder, "data.num_classes=10")
    assert "data.num_classes to 16 or more" in found(few, "num_classes").remedy


def test_class_sizes_are_counted_and_lonely_classes_yellow(tmp_path):
    image = png(0, size=4)
    labels = [0, 1, 2, 2, 2, 3, 3]
    write_source(tmp_path / "train.rec", [(image, n) for n in labels], num_classes=6, image_size=(4, 4))
    seen = read_labels(open_source(tmp_path / "train.rec"), seconds=5)
    assert seen.complete
    assert seen.labels.tolist() == labels
    check = judge_class_sizes(seen, num_classes=6, data=["x"])
    assert check.level == Level.YELLOW
    assert "1 to 3 a class, median 1.5; 2 classes have 1, 2 none" in check.says


def test_classes_are_counted_among_valid_labels_only():
    none = judge_class_sizes(Labels(np.array([np.nan, 0.5, 9.0]), complete=True), num_classes=6, data=["x"])
    assert none.level == Level.YELLOW
    assert "none has a valid label" in none.says
    some = judge_class_sizes(
        Labels(np.array([-1.0, 0.0, 0.0, 1.0, 1.0, 2.0, np.inf]), True), num_classes=2, data=["x"]
    )
    assert "2 to 2 a class" in some.says
    assert some.says.endswith("0 none")


@pytest.mark.parametrize(
    ("label", "rule"),
    [(math.inf, "must be a whole number"), (2.0**24, "float32 cannot tell class ids apart")],
    ids=["infinite", "ambiguous"],
)
def test_a_label_that_training_refuses_is_red_with_its_error(tmp_path, label, rule):
    """In a file that says how many classes it has, so that opening it does not read every label."""
    path = tmp_path / "train.rec"
    write_source(path, [(png(1), 0) for _ in range(300)], num_classes=3, image_size=(8, 8))
    offsets = dict(line.split("\t") for line in path.with_suffix(".idx").read_text().splitlines())
    with path.open("r+b") as file:
        file.seek(int(offsets["101"]) + 12)  # behind the record's frame and the header's flag
        file.write(struct.pack("<f", label))
    source = open_source(tmp_path / "train.rec")
    seen = read_labels(source, seconds=5)
    check = judge_labels(seen, source, num_classes=source.num_classes, data=[tmp_path])
    assert check.level == Level.RED
    assert "1 of 300 are not in 0..2: label" in check.says
    assert rule in check.says
