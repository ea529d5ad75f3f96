"""The folder of a run: for one run at a time, and one that can be written to."""

import os

import pytest

import partialfc
from partialfc.distributed import World
from partialfc.training.run import train
from partialfc.training.run_folder import run_lock
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
