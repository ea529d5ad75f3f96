"""A run from its config alone."""

import subprocess

import pytest
import torch

from partialfc.training.run import train
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, free_port, place, warm_python
from tests.train_cases import saved_config, small_config
from tests.warm import FINALIZES


def test_train_needs_no_process_group(folder, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert train(small_config(folder)) == 0
    assert not torch.distributed.is_initialized()


EXPLODING = ("backbone.name=tests.train_cases:Exploding", "train.max_nonfinite_steps=1")
STOPPED = ("backbone.name=tests.train_cases:Interrupted", "backbone.options={at: 2, rank: 1}")
KILLED = ("backbone.name=tests.train_cases:Interrupted", "backbone.options={at: 2, rank: 1, kill: true}")


def ends(folder, *words, overrides=(), **variables):
    """Exit status and stderr of the two ranks of a short run."""
    config, port = saved_config(folder, "train.steps=3", "schedule.warmup_steps=1"), free_port()
    ranks = [
        warm_python().start(
            *("-m", *words, "train", config, *overrides),
            env=ENVIRONMENT | place(rank, port) | variables,
            stdout=2,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        for rank in range(2)
    ]
    said = [rank.stderr.read() for rank in ranks]
    return list(zip([rank.wait() for rank in ranks], said, strict=True))


LOADING = ("data.workers=1",)


@pytest.mark.parametrize(
    ("overrides", "codes"),
    [
        ((), [0, 0]),
        ((*EXPLODING, *LOADING), [1, 1]),
        ((*STOPPED, *LOADING), [143, 143]),
        (KILLED, [1, -9]),
    ],
    ids=["finished", "error", "stopped", "the other killed"],
)
def test_no_thread_outlives_a_run(tmp_path, overrides, codes):
    """One of the process group would abort the process where it frees a tensor as the interpreter ends."""
    ended = ends(tmp_path, "tests.training.threads_left", overrides=(*overrides, "metrics.port=0"))
    assert [code for code, _ in ended] == codes, ended
    for code, said in ended:
        assert code == -9 or said.splitlines()[-1].split() == ["left:", "MainThread"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_processes_end_with_the_right_status(tmp_path):
    """They end as an interpreter does, with all that is left then."""
    for number in range(50):
        overrides, codes = [((), [0, 0]), (EXPLODING, [1, 1]), (STOPPED, [143, 143])][number % 3]
        fresh = (*overrides, f"run.dir={tmp_path / str(number)}")
        ended = ends(tmp_path, "partialfc", overrides=fresh, **{FINALIZES: "1"})
        assert [code for code, _ in ended] == codes, ended
