"""From which checkpoint a run goes on: taken back to an older one, started again, damaged, interrupted."""

import shutil

import pytest

import partialfc
from partialfc.checkpoint import CheckpointFolder, find_checkpoint, newest, read_state
from partialfc.checkpoint.start import Start, named
from partialfc.distributed import World
from tests.checkpoint.cases import C, tensors


class Run:
    """A process that trains in a folder of checkpoints."""

    def __init__(self, path, resume=None):
        self.folder = CheckpointFolder(path, World.of())
        self.start = newest(self.folder) if resume is None else named(self.folder, resume)
        if isinstance(self.start, Start):
            self.folder.go_on_from(self.start.lineage)

    def save(self, *steps, keep_last=2):
        for step in steps:
            state = {"step": step, "world_size": 1}
            self.folder.save(step, tensors(World.of()), state, num_classes=C)
            self.folder.prune(keep_last)


def steps(path):
    return [int(folder.name[5:]) for folder in sorted(path.glob("step-*"))]


def step(start):
    return int(start.checkpoint.name[5:])


def damage(path, number, *, state=False):
    folder = path / f"step-{number:08d}"
    victim = folder / ("state.json" if state else "__0_0.distcp")
    victim.write_bytes(victim.read_bytes()[:-9])


@pytest.fixture
def path(tmp_path):
    """Of a run that was saved at 10, 50 and 60, of which 10 is the best."""
    path = tmp_path / "checkpoints"
    run = Run(path)
    run.save(10)
    run.folder.mark_best(path / "step-00000010")
    run.save(50, 60)
    return path


def test_a_run_that_was_taken_back_keeps_what_it_saves(path):
    """Higher numbers lie there, and keep_last is no more than they are."""
    assert steps(path) == [10, 50, 60]
    run = Run(path, path / "step-00000010")
    assert run.start.aside == ("step-00000050", "step-00000060")
    run.save(11, keep_last=3)
    assert steps(path) == [10, 11, 50, 60]  # until the new line has three
    assert (path / "latest").read_text() == "step-00000011"
    assert step(Run(path).start) == 11
    run.save(12, keep_last=3)
    assert steps(path) == [10, 11, 12]
    run.save(13, 14, keep_last=1)
    assert steps(path) == [10, 14]


def test_a_step_that_is_reached_again_replaces_the_one_left_aside(path):
    first = (path / "step-00000050" / "state.json").read_text()
    (path / "best").write_text("step-00000050")
    run = Run(path, path / "step-00000010")
    run.save(50, keep_last=3)
    assert (path / "step-00000050" / "state.json").read_text() != first
    assert not (path / "best").exists()  # what it named is gone
    assert steps(path) == [10, 50, 60]
    damage(path, 50)
    assert step(Run(path).start) == 10


@pytest.mark.parametrize("state", [False, True])
def test_a_damaged_newest_one_is_left_aside(path, state):
    """keep_last 1 does not keep the damaged 60 in place of the whole 55."""
    damage(path, 60, state=state)
    run = Run(path)
    assert (step(run.start), run.start.damaged) == (50, ("step-00000060",))
    run.save(55, keep_last=1)
    assert steps(path) == [10, 55]
    assert step(Run(path).start) == 55


@pytest.mark.parametrize("state", [False, True])
def test_what_was_left_aside_is_never_taken_unasked(path, state):
    run = Run(path, path / "step-00000010")
    run.save(11, keep_last=9)
    damage(path, 11, state=state)
    assert step(Run(path).start) == 10
    damage(path, 10)
    message = (
        "none of the 2 checkpoints that the run goes on from is undamaged, and step-00000050, step-00000060"
    )
    with pytest.raises(partialfc.CheckpointError, match=message) as caught:
        Run(path)
    asked = str(caught.value).split("checkpoint.resume=")[1]
    assert step(Run(path, path / asked).start) == 60
    with pytest.raises(partialfc.CheckpointError, match="name it by its path"):
        find_checkpoint(path.parent)
    assert find_checkpoint(path / "step-00000050") == path / "step-00000050"


def test_without_any_record_of_the_newest_one_must_be_named(path):
    damage(path, 60, state=True)
    (path / "lineage").unlink()
    with pytest.raises(partialfc.CheckpointError, match="step-00000060 is missing or damaged, and which of"):
        Run(path)
    assert step(Run(path, path / "step-00000050").start) == 50


def test_the_one_that_is_advised_is_whole(path):
    """Names sort by step, and the last of them may be damaged as well."""
    (path / "latest").write_text("step-00000070")
    (path / "lineage").unlink()
    damage(path, 60, state=True)
    with pytest.raises(partialfc.CheckpointError, match="step-00000070 is missing or damaged") as caught:
        Run(path)
    assert str(caught.value).endswith(f"checkpoint.resume={path / 'step-00000050'}")
    damage(path, 50)
    damage(path, 10)
    with pytest.raises(partialfc.CheckpointError, match="none of the 3 checkpoints is undamaged"):
        Run(path)


def test_the_one_beside_the_line_that_is_advised_is_whole(path):
    Run(path, path / "step-00000010").save(11, keep_last=9)
    for number in (10, 11, 60):
        damage(path, number)
    with pytest.raises(partialfc.CheckpointError, match="none of the 2 checkpoints that") as caught:
        Run(path)
    assert str(caught.value).endswith(f"checkpoint.resume={path / 'step-00000050'}")


def test_a_newest_one_that_was_deleted_by_hand_leaves_the_one_before(path):
    shutil.rmtree(path / "step-00000060")
    assert step(Run(path).start) == 50


def test_the_same_command_again_goes_on(path, tmp_path):
    """`checkpoint.resume: PATH` in a job that is requeued: in the run's own folder, and from another."""
    other = tmp_path / "other" / "checkpoints"
    other.parent.mkdir()
    for where, asked in ((path, path / "step-00000010"), (other, path / "step-00000010")):
        run = Run(where, asked)
        assert (step(run.start), run.start.again) == (10, False)
        run.save(11, 12, 13)
        again = Run(where, asked)
        assert (step(again.start), again.start.again) == (13, True)
        again.save(14)
        damage(where, 14)
        assert step(Run(where, asked).start) == 13
        damage(where, 13)
        assert step(Run(where, asked).start) == 10
        assert step(Run(where, asked).start) == 10


def test_the_same_command_goes_on_when_what_it_names_is_gone_or_has_trained_on(path, tmp_path):
    other = tmp_path / "other" / "checkpoints"
    other.parent.mkdir()
    Run(other, path.parent).save(61)  # from a run, whose newest is 60
    Run(path).save(70)
    assert step(Run(other, path.parent).start) == 61
    shutil.rmtree(path.parent / "checkpoints")
    assert step(Run(other, path.parent).start) == 61
    with pytest.raises(partialfc.CheckpointError, match="neither a checkpoint nor a run"):
        Run(other, tmp_path / "nowhere")


def test_another_path_than_before_begins_there(path):
    Run(path, path / "step-00000010").save(11, keep_last=9)
    run = Run(path, path / "step-00000050")
    assert (step(run.start), run.start.again) == (50, False)
    run.save(51, keep_last=9)
    assert step(Run(path, path / "step-00000050").start) == 51
    assert step(Run(path, path / "step-00000010").start) == 10


def test_the_runs_own_folder_as_path_is_its_newest(path):
    for asked in (path, path.parent):
        assert step(Run(path, asked).start) == 60


def test_only_the_named_one_is_read(path, caplog):
    damage(path, 60)
    assert step(Run(path, path / "step-00000010").start) == 10
    assert not caplog.text
    damage(path, 10)
    with pytest.raises(partialfc.CheckpointError, match=r"step-00000010/__0_0\.distcp is damaged"):
        Run(path, path / "step-00000010")


def test_a_copy_beside_is_neither_used_nor_deleted(path):
    shutil.copytree(path / "step-00000010", path / "step-00000010.mine")
    run = Run(path)
    run.save(70, 80)
    assert (path / "step-00000010.mine").is_dir()
    assert read_state(find_checkpoint(path))["step"] == 80


def test_ranks_agree(run_ranks, path):
    damage(path, 60, state=True)
    assert run_ranks(start_of, 3, str(path)) == [50, 50, 50]


def start_of(path):
    from pathlib import Path

    start = newest(CheckpointFolder(Path(path), World.of()))
    assert start is not None
    return step(start)


def test_checkpoints_that_someone_removes_under_a_run_are_told_once(path, caplog):
    run = Run(path)
    run.save(61, 62, keep_last=2)  # which deletes 50 and 60 itself
    assert not caplog.messages
    shutil.rmtree(path)
    run.save(63)
    (message,) = caplog.messages
    assert message.startswith(f"{path / 'step-00000062'} was removed or replaced while the run used it")
    assert step(Run(path).start) == 63
    run.save(64, 65, 66)
    assert len(caplog.messages) == 1
    shutil.rmtree(path / "step-00000066")
    run.save(67)
    assert len(caplog.messages) == 2
    assert step(Run(path).start) == 67
