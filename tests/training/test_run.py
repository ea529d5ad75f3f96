"""A run from its config alone."""

import subprocess

import torch

from partialfc.training.run import train
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, free_port, place, warm_python
from tests.train_cases import saved_config, small_config


def test_train_needs_no_process_group(folder, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert train(small_config(folder)) == 0
    assert not torch.distributed.is_initialized()


def test_no_thread_of_the_process_group_outlives_it(tmp_path):
    """Gloo's would abort the process where they free a tensor while the interpreter ends."""
    config, port = saved_config(tmp_path, "train.steps=2", "schedule.warmup_steps=1"), free_port()
    ranks = [
        warm_python().start(
            *("-m", "tests.training.threads_left", config),
            env=ENVIRONMENT | place(rank, port),
            stdout=subprocess.PIPE,
            stderr=2,
            cwd=ROOT,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        left = rank.stdout.read().splitlines()[-1]
        assert rank.wait() == 0
        assert "gloo" not in left
