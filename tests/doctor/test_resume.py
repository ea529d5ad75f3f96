"""The folder of a run, and the checkpoint that it would go on from."""

import re

import pytest
import torch

from partialfc.doctor import Check, Level
from partialfc.doctor.check import green
from partialfc.errors import CheckpointError
from partialfc.training.loop import Trainer
from partialfc.training.run import train
from tests import train_cases
from tests.doctor.cases import found, quick
from tests.training.cases import run

ADAFACE = "head.margin={name: adaface}"
WITH_BIAS = "head.margin={name: softmax, bias: true}"
CENTRE_LOSS = "losses=[{name: center, weight: 1}]"
OF_HEAD = "losses=[{name: center, weight: 1, centres: head}]"


def test_a_run_folder_that_cannot_be_one_is_red(folder):
    (folder / "file").write_text("")
    for path in (folder / "file", folder / "file" / "run"):
        check = found(quick(folder, run={"dir": str(path)}), "run folder")
        assert (check.level, check.says) == (Level.RED, f"{folder / 'file'} is not a folder")


def test_a_link_as_the_lock_is_red_and_its_remedy_works(folder):
    (folder / "run").mkdir()
    (folder / "run" / ".lock").symlink_to(folder / "train.rec")
    config = train_cases.small_config(folder, "train.steps=1", "schedule.warmup_steps=0")
    check = found(quick(folder), "run folder")
    assert (check.level, check.remedy) == (Level.RED, "delete it")
    (folder / "run" / ".lock").unlink()
    assert found(quick(folder), "run folder").level == Level.GREEN
    assert train(config) == 0


def test_what_a_run_would_go_on_from(folder):
    def resume(*overrides: str) -> Check:
        return found(quick(folder, *overrides), "resume")

    assert resume() == green("resume", "starts from the beginning")
    missing = resume("checkpoint.resume=/nope")
    assert missing.level == Level.RED
    assert "/nope: neither a checkpoint nor a run with checkpoints" in missing.says
    train(train_cases.small_config(folder, "train.steps=3", "schedule.warmup_steps=0"))
    assert resume("train.steps=3", "schedule.warmup_steps=0") == green("resume", "goes on from step-00000003")
    longer = resume("schedule.warmup_steps=0")
    assert (longer.level, "train.steps 3 -> 12" in longer.says) == (Level.YELLOW, True)
    beside = resume("train.steps=3", "schedule.warmup_steps=0", "losses=[{name: triplet, weight: 1}]")
    assert (beside.level, "losses [] -> [" in beside.says) == (Level.YELLOW, True)
    for override, says in (
        ("backbone.embedding_size=8", "backbone.embedding_size 16 -> 8"),
        ("data.num_classes=99", "number of classes "),
        ("losses=[{name: center, weight: 1}]", "it has no centres for the centre loss in losses"),
        ("checkpoint.resume=never", "holds checkpoints of another run"),
    ):
        check = resume(override)
        assert (check.level, says in check.says) == (Level.RED, True), check
    (folder / "run" / "checkpoints" / "step-00000003" / "state.json").write_text("torn")
    assert resume().level == Level.RED


def test_the_remedy_of_a_checkpoint_that_cannot_be_resumed_from_works(folder):
    """Where it is damaged, or missing, or the only whole one is of a course that was left."""

    def resume(*overrides: str) -> Check:
        return found(quick(folder, "schedule.warmup_steps=0", *overrides), "resume")

    def damage(step: int) -> None:
        (checkpoints / f"step-{step:08d}" / "state.json").write_text("torn")

    checkpoints = folder / "run" / "checkpoints"
    usual = ["schedule.warmup_steps=0", "train.steps=3", "checkpoint.every_steps=1", "checkpoint.keep_last=9"]
    train(train_cases.small_config(folder, *usual))
    damage(3)
    assert resume("train.steps=3").says.startswith("goes on from step-00000002")
    assert "step-00000003 is damaged" in resume("train.steps=3").says
    missing = resume("checkpoint.resume=/nope")
    assert "let checkpoint.resume be auto" in missing.remedy
    back = f"checkpoint.resume={checkpoints / 'step-00000001'}"
    train(train_cases.small_config(folder, *usual, back, "train.steps=2"))
    again = resume(*usual[1:], back)
    assert "because the run began from" in again.says
    damage(2)
    damage(1)
    train(train_cases.small_config(folder, *usual, "run.dir=" + str(folder / "other")))
    (checkpoints / "step-00000003").rename(folder / "damaged")
    (folder / "other" / "checkpoints" / "step-00000003").rename(checkpoints / "step-00000003")
    check = resume()
    assert check.level == Level.RED
    option = check.remedy.removeprefix("set ").split(",")[0]
    assert option == f"checkpoint.resume={checkpoints / 'step-00000003'}"
    assert resume(option).level == Level.YELLOW
    assert train(train_cases.small_config(folder, *usual, option)) == 0


def test_room_is_counted_for_checkpoints_that_are_left_aside(folder):
    usual = ["schedule.warmup_steps=0", "train.steps=4", "checkpoint.every_steps=1"]
    train(train_cases.small_config(folder, *usual))
    room = found(quick(folder, *usual), "disk space")
    assert "for 4 checkpoints" in room.says
    other = found(
        quick(folder, *usual, f"checkpoint.resume={folder}", "checkpoint.keep_last=3"), "disk space"
    )
    assert "for 5 checkpoints" in other.says


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        ([], "head.sub_centers=2", "head.sub_centers 1 -> 2"),
        ([ADAFACE, "head.sub_centers=2"], "head.sub_centers=1", "head.sub_centers 2 -> 1"),
        (
            [],
            "head.margin={name: curricularface}",
            "head.margin.name arcface -> curricularface: ",
        ),
        (
            [ADAFACE],
            "head.margin={name: cosface}",
            "keeps mean, std from step to step, cosface nothing",
        ),
        ([ADAFACE, "head.sub_centers=2"], "head.margin={name: cosface}", "adaface keeps mean, std from"),
        ([], WITH_BIAS, "it has no bias of each class, and this run's head.margin, softmax, has one"),
        (
            [WITH_BIAS],
            "head.margin={name: cosface}",
            "it has a bias of each class, and ",
        ),
        ([], "backbone.embedding_size=8", "backbone.embedding_size 16 -> 8"),
        ([], "optimizer={name: adamw, lr: 0.01}", "optimizer.name sgd -> adamw"),
        (["optimizer.momentum=0"], "optimizer.momentum=0.9", "optimizer.momentum 0.0 -> 0.9"),
        (["head.unsampled=frozen"], "head.unsampled=dense", "head.unsampled frozen -> dense"),
        ([], "head.momentum_dtype=int8", "head.momentum_dtype null -> int8"),
        (["head.momentum_dtype=int8"], "head.momentum_dtype=bfloat16", "momentum_dtype int8 -> bfloat16"),
        ([], CENTRE_LOSS, "it has no centres for the centre loss in losses"),
        ([OF_HEAD], CENTRE_LOSS, "it has no centres for the centre loss in losses"),
        ([], "head.margin={name: cosface}", ""),
        ([], "head.margin={name: mv_softmax}", ""),
        ([], "head.margin={name: softmax}", ""),
        ([CENTRE_LOSS], OF_HEAD, ""),
        ([], "optimizer.momentum=0", ""),
        ([], "head.unsampled=frozen", ""),
        ([], "head.momentum_dtype=bfloat16", ""),
        ([], "head.weight_dtype=bfloat16", ""),
    ],
)
def test_it_is_red_exactly_where_training_refuses(folder, before, now, says):
    """says: what both tell of it; empty where the run goes on."""
    usual = ["train.steps=1", "schedule.warmup_steps=0"]
    run(train_cases.small_config(folder, *usual, *before))
    check = found(quick(folder, *usual, *before, now), "resume")
    config = train_cases.small_config(folder, *usual, *before, now)
    if not says:
        assert check.level == Level.YELLOW
        Trainer(config, torch.device("cpu"))
        return
    assert (check.level, says in check.says) == (Level.RED, True), check
    with pytest.raises(CheckpointError, match=rf"step-00000001: it is of another run: .*{re.escape(says)}"):
        run(config)
