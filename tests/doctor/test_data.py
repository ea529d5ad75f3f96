"""The training data: missing, damaged, with labels out of range, with lonely classes."""

import numpy as np

from partialfc.data.images.codec import encode_png
from partialfc.data.sources.insightface import write_source
from partialfc.data.sources.source import open_source
from partialfc.doctor import Level
from partialfc.doctor.data import Labels, judge_class_sizes, read_labels
from tests.doctor.cases import found, quick


def test_data_that_is_not_there_is_red(folder):
    report = quick(folder, "data.train=nowhere.rec")
    assert found(report, "data").level == Level.RED
    assert "nowhere.rec" in found(report, "data").says


def test_too_few_classes_are_red_and_too_many_yellow(folder):
    few = quick(folder, "data.num_classes=19")
    assert found(few, "num_classes").level == Level.RED
    assert found(few, "labels").level == Level.RED
    many = quick(folder, "data.num_classes=21")
    assert found(many, "num_classes").level == Level.YELLOW
    assert found(many, "labels").level == Level.GREEN


def test_labels_out_of_range_are_red_and_the_first_is_named(folder):
    (folder / "property").write_text("15,8,8\n")
    check = found(quick(folder), "labels")
    assert check.level == Level.RED
    assert "30 of 120" in check.says
    assert "15 in train.rec record 91" in check.says


def test_damaged_images_are_red(folder):
    records = (folder / "train.rec").read_bytes()
    place = records.index(b"\x89PNG")
    (folder / "train.rec").write_bytes(records[:place] + b"\0PNG" + records[place + 4 :])
    check = found(quick(folder), "records")
    assert check.level == Level.RED
    assert "1 of 120" in check.says
    assert "train.rec record 1:" in check.says


def test_a_damaged_record_is_red(folder):
    """A frame without its magic word: neither its image nor its label can be read."""
    records = bytearray((folder / "train.rec").read_bytes())
    line = (folder / "train.idx").read_text().splitlines()[50].split()
    records[int(line[1]) : int(line[1]) + 4] = b"\0\0\0\0"
    (folder / "train.rec").write_bytes(records)
    report = quick(folder)
    assert found(report, "records").level == Level.RED
    assert found(report, "labels").level == Level.RED
    assert "record 50" in found(report, "labels").says


def test_class_sizes_are_counted_and_lonely_classes_yellow(tmp_path):
    image = encode_png(np.zeros((4, 4, 1), np.uint8))
    labels = [0, 1, 2, 2, 2, 3, 3]
    write_source(tmp_path / "train.rec", [(image, n) for n in labels], num_classes=6, image_size=(4, 4))
    seen = read_labels(open_source(tmp_path / "train.rec"), seconds=5)
    assert seen.complete
    assert seen.labels.tolist() == labels
    check = judge_class_sizes(seen, num_classes=6)
    assert check.level == Level.YELLOW
    assert "1 to 3 a class, median 1.5; 2 classes have 1, 2 none" in check.says


def test_classes_are_counted_among_valid_labels_only():
    none = judge_class_sizes(Labels(np.array([np.nan, 0.5, 9.0]), complete=True), num_classes=6)
    assert none.level == Level.YELLOW
    assert "none has a valid label" in none.says
    some = judge_class_sizes(Labels(np.array([-1.0, 0.0, 0.0, 1.0, 1.0, 2.0, np.inf]), True), num_classes=2)
    assert "2 to 2 a class" in some.says
    assert some.says.endswith("0 none")


def test_an_image_folder_is_examined_too(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            picture = encode_png(np.full((8, 8, 1), 40 * number, np.uint8))
            (tmp_path / "images" / name / f"{number}.png").write_bytes(picture)
    report = quick(tmp_path, f"data.train={tmp_path / 'images'}")
    assert found(report, "class sizes").says.startswith("all 4 images: 2 to 2 a class")
    assert found(report, "labels").level == Level.GREEN
    (tmp_path / "images" / "dog" / "0.png").write_bytes(b"no picture")
    assert "dog/0.png" in found(quick(tmp_path, f"data.train={tmp_path / 'images'}"), "records").says


def test_an_image_folder_has_the_classes_that_the_run_gave_before(tmp_path):
    (tmp_path / "images" / "cat").mkdir(parents=True)
    (tmp_path / "images" / "cat" / "0.png").write_bytes(encode_png(np.zeros((8, 8, 1), np.uint8)))
    index = tmp_path / "run" / "classes.json"
    index.parent.mkdir()
    index.write_text('["ant", "cat"]')
    assert "of 2 classes" in found(quick(tmp_path, f"data.train={tmp_path / 'images'}"), "data").says
    index.write_text('["ant", ')
    check = found(quick(tmp_path, f"data.train={tmp_path / 'images'}"), "data")
    assert check.level == Level.RED
    assert "classes.json is damaged" in check.says
    assert "run.dir" in check.remedy
