"""The folder of a run, and the checkpoint that it would go on from."""

from partialfc.doctor import Check, Level
from partialfc.doctor.check import green
from partialfc.training.run import train
from tests import train_cases
from tests.doctor.cases import found, quick


def test_a_run_folder_that_cannot_be_one_is_red(folder):
    (folder / "file").write_text("")
    for path in (folder / "file", folder / "file" / "run"):
        check = found(quick(folder, run={"dir": str(path)}), "run folder")
        assert (check.level, check.says) == (Level.RED, f"{folder / 'file'} is not a folder")


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
    for override, says in (
        ("backbone.embedding_size=8", "backbone.embedding_size 16 -> 8"),
        ("data.num_classes=99", "number of classes "),
        ("checkpoint.resume=never", "holds checkpoints of another run"),
    ):
        check = resume(override)
        assert (check.level, says in check.says) == (Level.RED, True), check
    (folder / "run" / "checkpoints" / "step-00000003" / "state.json").write_text("torn")
    assert resume().level == Level.RED
