"""How an argument is told from a config, and where its run goes."""

import pytest

from partialfc.suggest.train import is_images, run_dir_for, split


@pytest.mark.parametrize(
    ("images", "run_dir"),
    [
        ("/data/faces", "runs/faces"),
        ("/data/faces/", "runs/faces"),
        ("data/ms1mv3/train.rec", "runs/ms1mv3"),
        ("/data/faces.rec", "runs/faces"),
        ("/shop/images", "runs/shop"),
        ("s3://bucket/set/shard-{000000..000127}.tar", "runs/set"),
        ("/data/set/*.tar", "runs/set"),
        ("/data/images", "runs/images"),
        ("/", "runs/images"),
    ],
)
def test_a_run_has_the_name_of_its_images(images, run_dir):
    assert run_dir_for(images) == run_dir


def test_a_folder_may_have_a_point_in_its_name(tmp_path):
    (tmp_path / "faces.2024").mkdir()
    assert run_dir_for(str(tmp_path / "faces.2024")) == "runs/faces.2024"


def test_images_and_overrides_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    words = ["imgs", "a=b", "train.steps=5", "data={train: x}", "s3://bucket/x?y=1", "/data/k=v"]
    assert split(words) == (
        ("imgs", "a=b", "s3://bucket/x?y=1", "/data/k=v"),
        ["train.steps=5", "data={train: x}"],
    )


def test_folders_and_records_are_images_and_all_else_is_a_config(tmp_path):
    (tmp_path / "faces.yaml").mkdir()
    assert is_images(str(tmp_path))
    assert is_images(str(tmp_path / "faces.yaml"))
    assert is_images("somewhere/train.rec")
    assert is_images("s3://bucket/faces.tar")
    assert not is_images("config.yaml")
    (tmp_path / "config").touch()
    assert not is_images(str(tmp_path / "config"))
