"""A run goes on with the classes that it began with, wherever they lie, and with no others."""

import shutil
from pathlib import Path

import pytest
import torch

from partialfc.data.sources.recordio import Header, pack
from partialfc.doctor import Level
from partialfc.errors import CheckpointError, DataError
from partialfc.training.loop import Trainer
from tests.data.sources.cases import png, put
from tests.data.sources.records import write_records
from tests.doctor.cases import found, quick
from tests.train_cases import small_config
from tests.training.cases import run

NAMES = ("ape", "bee", "cat")
FEW = {"batch_size": 3, "steps": 3}
LABELS = [0, 0, 1, 1, 2, 2]


def images(folder: Path, *names: str) -> Path:
    return put(folder, *(f"{name}/{number}.png" for name in names for number in range(3)))


def records(path: Path, *labels: int) -> Path:
    """Images with these labels and no names."""
    packed = (pack(Header(0, (label,), key), png(key)) for key, label in enumerate(labels))
    return write_records(path, dict(enumerate(packed)))


def config(folder: Path, data: object, **more: object):
    return small_config(folder, data={"train": str(data), **more}, train={**FEW, "steps": 5})


def go_on(folder: Path, data: object, **more: object) -> int:
    """The step from which a run goes on with this data."""
    return Trainer(config(folder, data, **more), torch.device("cpu")).state.step


@pytest.fixture(scope="module")
def of_folders(tmp_path_factory):
    """A run on a folder of classes in folders of two levels."""
    folder = tmp_path_factory.mktemp("folders")
    images(folder / "in", *(f"wild/{name}" for name in NAMES))
    run(small_config(folder, data={"train": str(folder / "in"), "class_depth": 2}, train=FEW))
    return folder


@pytest.fixture(scope="module")
def of_records(tmp_path_factory):
    """A run on records whose classes have no names."""
    folder = tmp_path_factory.mktemp("records")
    run(small_config(folder, data={"train": str(records(folder / "a.rec", *LABELS))}, train=FEW))
    return folder


def test_classes_in_another_place_go_on(of_folders, tmp_path):
    shutil.copytree(of_folders / "in", tmp_path / "moved")
    assert go_on(of_folders, tmp_path / "moved", class_depth=2) == 3
    images(tmp_path / "flat", *NAMES)
    put(tmp_path / "moved", "wild/ape/new.png")
    assert go_on(of_folders, tmp_path / "moved", class_depth=2) == 3, "an image more"
    (tmp_path / "bad.txt").write_text("wild/ape/0.png\n")
    assert go_on(of_folders, of_folders / "in", class_depth=2, leave_out=str(tmp_path / "bad.txt")) == 3


def test_classes_on_another_level_are_refused_with_the_key(of_folders, tmp_path):
    with pytest.raises(DataError, match=r"wild: not among the 3 .*last started: .*data.class_depth 2 -> 1"):
        go_on(of_folders, of_folders / "in")


def test_a_folder_without_some_of_the_classes_is_refused(of_folders, tmp_path):
    other = images(tmp_path / "other", "wild/ape", "wild/cat")
    with pytest.raises(CheckpointError) as error:
        go_on(of_folders, other, class_depth=2)
    assert f"other classes: classes with images 3 -> 2 (data.train {of_folders}/in -> {other})" in str(
        error.value
    )
    assert f"another run.dir, where finetune.backbone_from={of_folders / 'run'} would" in str(error.value)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 0, 1, 1, 2, 2, 2], "images 6 -> 7, of classes without names (data.train "),
        ([2, 2, 1, 1, 0, 0], "as many images, of other classes or in another order (data.train "),
        ([0, 0, 1, 1, 2, 3], "number of classes 3 -> 4 (data.train "),
    ],
    ids=["more images", "another order", "more classes"],
)
def test_other_records_are_refused(of_records, tmp_path, labels, says):
    with pytest.raises(CheckpointError) as error:
        go_on(of_records, records(tmp_path / "b.rec", *labels))
    assert f"other classes: {says}" in str(error.value)


def test_the_same_records_elsewhere_go_on(of_records, tmp_path):
    assert go_on(of_records, records(tmp_path / "b.rec", *LABELS)) == 3


def test_names_beside_records_must_stay(tmp_path):
    images = records(tmp_path / "a.rec", *LABELS)
    names = tmp_path / "classes.txt"
    names.write_text("ape\nbee\ncat\n")
    run(small_config(tmp_path, data={"train": str(images)}, train=FEW))
    names.write_text("ape\ncat\nbee\n")
    with pytest.raises(CheckpointError, match=r"class 1 is 'cat', and was 'bee': their order differs; give"):
        go_on(tmp_path, images)
    names.write_text("ape\nbee\ndog\n")
    with pytest.raises(CheckpointError, match=r"gone: 1, such as 'cat' and new: 1, such as 'dog'; give"):
        go_on(tmp_path, images)


def test_the_doctor_says_it_before_the_run(of_records, tmp_path):
    other = records(tmp_path / "b.rec", *LABELS, 2)
    job = quick(of_records, data={"train": str(other)}, train={**FEW, "steps": 5})
    check = found(job, "resume")
    assert (check.level, "images 6 -> 7" in check.says) == (Level.RED, True)
    assert "finetune.backbone_from=" in check.remedy


def test_leaving_out_a_class_beside_the_same_data_goes_on(of_folders, tmp_path):
    """Its id stays; what is left out is the user's own list."""
    (tmp_path / "bad.txt").write_text("".join(f"wild/ape/{number}.png\n" for number in range(3)))
    assert go_on(of_folders, of_folders / "in", class_depth=2, leave_out=str(tmp_path / "bad.txt")) == 3
