"""The folder of a run: for one run at a time, and one that can be written to."""

import os
import shutil

import pytest
import torch

import partialfc
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.distributed import World
from partialfc.training.loop import Trainer
from partialfc.training.run import train
from partialfc.training.run_folder import run_lock
from tests.disks import fill, small_disk
from tests.train_cases import small_config
from tests.training.cases import run


def test_a_run_folder_serves_one_run_at_a_time(folder):
    config = small_config(folder)
    message = rf"is in use by process {os.getpid()} on"
    with run_lock(config.run.dir, World.of()), pytest.raises(partialfc.ConfigError, match=message):
        train(config)
    assert train(config) == 0


def test_a_run_folder_that_cannot_be_made_is_named(folder):
    (folder / "file").write_text("")
    with pytest.raises(
        partialfc.ConfigError, match=r"run\.dir is .*file/run, which cannot be a run's folder"
    ):
        run(small_config(folder, run={"dir": str(folder / "file" / "run")}))


@pytest.mark.parametrize("name", [".lock", "config.yaml", "metrics.jsonl"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_in_the_folder_changes_nothing_that_it_names(folder, name, exists):
    """As in a folder that somebody else made."""
    config = small_config(folder)
    target = folder / "target"
    if exists:
        target.write_text("precious")
    config.run.dir.mkdir()
    (config.run.dir / name).symlink_to(target)
    if name == ".lock":
        message = r"\.lock is not a plain file \(a link, say\): delete it"
        with pytest.raises(partialfc.ConfigError, match=message):
            train(config)
    else:
        train(config)
        assert not (config.run.dir / name).is_symlink()
    assert target.exists() == exists
    if exists:
        assert target.read_text() == "precious"


def test_a_lock_that_cannot_be_one_is_every_ranks_error(rank_outcomes, folder):
    (folder / "run" / ".lock").mkdir(parents=True)
    for outcome in rank_outcomes(locked, 2, folder / "run"):
        assert isinstance(outcome, partialfc.ConfigError)
        assert ".lock is not a plain file" in str(outcome)


def locked(path):
    with run_lock(path, World.of()):
        pass


def removing(config):
    """A run whose folder is removed in its fifth step."""
    trainer = Trainer(config, torch.device("cpu"))
    with trainer.running():
        while trainer.state.step < 5:
            trainer._train_step()
        if trainer.world.rank == 0:
            shutil.rmtree(config.run.dir)
        trainer.world.barrier()
        trainer.run()


def test_a_folder_that_is_removed_under_a_run_is_an_error_and_not_made_anew(rank_outcomes, folder):
    write_pairs(folder / "pairs.bin", make_pairs(open_source(folder / "train.rec"), pairs=20, seed=0))
    sections = {"verification": {"sets": {"seen": str(folder / "pairs.bin")}, "every_steps": 6}}
    for outcome in rank_outcomes(removing, 2, small_config(folder, **sections)):
        assert isinstance(outcome, partialfc.CheckpointError)
        assert "run was removed, moved or replaced while the run used it" in str(outcome)
    assert not (folder / "run").exists()


def opened_on_a_full_disk(config):
    Trainer(config, torch.device("cpu"))


def test_a_full_disk_at_the_start_is_every_ranks_error(rank_outcomes, folder):
    with small_disk(folder / "disk") as disk:
        fill(disk)
        config = small_config(folder, run={"dir": str(disk / "run")})
        for outcome in rank_outcomes(opened_on_a_full_disk, 3, config):
            assert isinstance(outcome, OSError)
            assert outcome.filename == str(disk / "run" / "config.yaml")
