"""Step times in a run's log: means since the last line, which are what the metrics say of the run."""

import pytest
import torch

from partialfc.metrics.families import STEP_PHASES
from partialfc.metrics.run_log import read_metrics
from partialfc.metrics.step_times import StepTimes
from partialfc.training.loop import Trainer
from tests.metrics.cases import samples, text_of
from tests.train_cases import small_config


def test_means_are_of_the_steps_since_the_last_line():
    times = StepTimes(("wait", "work"))
    assert times.means() == {}
    for seconds in (1.0, 3.0):
        times.phase("wait", seconds / 2)
        times.phase("wait", seconds / 4)  # a second micro-batch
        times.phase("checkpoint", 100.0)
        times.step(seconds)
    assert times.means() == {"step_seconds": 2.0, "phase_seconds": {"wait": 1.5, "work": 0.0}}
    assert times.means() == {}
    times.step(5.0)
    assert times.means() == {"step_seconds": 5.0, "phase_seconds": {"wait": 0.0, "work": 0.0}}


def test_the_log_has_the_times_that_the_metrics_have(folder):
    trainer = Trainer(small_config(folder, train={"log_every": 4}), torch.device("cpu"))
    with trainer.running():
        trainer.run()
    lines = [each for each in read_metrics(folder / "run") if each["event"] == "train"]
    assert [each["step"] for each in lines] == [1, 4, 8, 12]
    found = samples(text_of(trainer.metrics.registry))
    counted = [1, 3, 4, 4]
    logged = {
        name: sum(n * each["phase_seconds"][name] for n, each in zip(counted, lines, strict=True))
        for name in STEP_PHASES
    }
    for name, seconds in logged.items():
        whole = found["partialfc_phase_seconds_sum", f"phase={name}", "rank=0", "run=run"]
        assert seconds == pytest.approx(whole, abs=1e-4)
    assert all(sum(each["phase_seconds"].values()) <= each["step_seconds"] + 1e-5 for each in lines)
