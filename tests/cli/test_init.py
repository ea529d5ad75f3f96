"""The command `init`, and `train` on images: real processes, folders and ranks."""

import pytest

from partialfc.config import load_config
from partialfc.metrics.run_log import read_metrics
from tests.processes import call
from tests.suggest.cases import write_images

SMALL = (
    "backbone={name: convnet, embedding_size: 8, options: {widths: [8], blocks: [0]}}",
    "train.batch_size=16",
    "metrics.port=null",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("many") / "faces", 60, 4)


def steps(folder):
    return [record["step"] for record in read_metrics(folder) if record["event"] == "train"]


def test_a_config_is_written_that_trains(images, tmp_path):
    done = call("init", images, "-o", "mine.yaml", "run.dir=run", *SMALL, "train.steps=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "240 images of 60 classes (4 to 4 a class, 4 in the middle), 12 pixels a side, grey" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("mine.yaml: ")
    again = call("init", images, "-o", "mine.yaml", cwd=tmp_path)
    assert again.returncode == 1
    assert again.stderr == (
        "partialfc: ConfigError: mine.yaml exists; choose another name with -o, or replace it with "
        "--overwrite\n"
    )
    trained = call("train", "mine.yaml", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    shown = call("config", "mine.yaml", "train.epochs=0.5", "checkpoint.every_epochs=0.2", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "epochs: 0.5\n  steps: null\n" in shown.stdout
    assert "50 classes, 200 images" in trained.stdout
    assert "verification at step 3: held_out: 120 pairs" in trained.stdout


def test_images_are_trained_on_in_one_go_and_resumed(images, tmp_path):
    overrides = ("run.dir=run", *SMALL, "train.steps=3", "optimizer.lr=0.07")
    done = call("train", images, *overrides, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run/suggested.yaml: a config for them" in done.stdout
    assert "verification at step 3: held_out: 120 pairs" in done.stdout
    text = (tmp_path / "run" / "suggested.yaml").read_text()
    assert load_config(tmp_path / "run" / "suggested.yaml").optimizer.lr == 0.07

    more = call("train", images, "run.dir=run", "train.steps=5", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert "going on with run/suggested.yaml" in more.stdout
    assert "resumed at step 3" in more.stdout
    assert len(read_metrics(tmp_path / "run")) > 0
    assert load_config(tmp_path / "run" / "config.yaml").optimizer.lr == 0.07, "given with the first call"
    assert (tmp_path / "run" / "suggested.yaml").read_text() == text


@pytest.mark.slow
def test_under_torchrun_rank_0_writes_and_all_train(images, tmp_path):
    overrides = ("run.dir=run", *SMALL, "train.steps=3")
    done = call("train", images, *overrides, ranks=2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("a config for them") == 1
    assert "2 ranks on cpu" in done.stdout
    alone = call("train", images, "run.dir=run", "train.steps=4", cwd=tmp_path)
    assert "resumed at step 3" in alone.stdout, alone.stderr


@pytest.mark.slow
def test_what_rank_0_cannot_use_ends_all_ranks(tmp_path):
    write_images(tmp_path / "one", 1, 3)
    done = call("train", tmp_path / "one", "run.dir=run", *SMALL, ranks=2, cwd=tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("DataError") >= 1
    assert "of one class, so there is nothing to tell apart" in done.stderr
    assert 'Traceback (most recent call last)\n  File "/work' not in done.stderr
    assert not (tmp_path / "run" / "suggested.yaml").exists()


def test_a_run_on_other_images_is_not_taken_over(images, tmp_path):
    assert call("train", images, "run.dir=run", *SMALL, "train.steps=1", cwd=tmp_path).returncode == 0
    write_images(tmp_path / "others", 3, 6)
    done = call("train", tmp_path / "others", "run.dir=run", cwd=tmp_path)
    assert done.returncode == 1
    assert f"run.dir run holds a run on {images}, not on {tmp_path}/others; give run.dir=" in done.stderr


def test_a_run_with_a_config_of_its_own_is_not_taken_over(images, folder):
    assert call("train", folder / "config.yaml", "train.steps=1", "schedule.warmup_steps=0").returncode == 0
    done = call("train", images, f"run.dir={folder / 'run'}")
    assert done.returncode == 1
    assert "holds a run that has a config of its own" in done.stderr


def test_neither_a_config_nor_images(tmp_path):
    done = call("train", "nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "partialfc: ConfigError: nowhere: does not exist; give a config (.yaml), or images to train on: a "
        "folder of class folders, or a .rec file\n"
    )
