"""Whole runs on the pretend accelerator: the CPU's losses, verifications and resumes; what steps wait for."""

from pathlib import Path
from typing import Any

import pytest
import torch

from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from tests.pretend.machine import machine
from tests.train_cases import small_config
from tests.training.cases import EXACT, moved

FIRST, LAST = 4, 7  # the steps of a run, and of its resume
CASES: dict[str, dict[str, Any]] = {
    "float64": EXACT,
    "accumulation": {**EXACT, "train": {"accumulation": 2, "clip_norm": 1.0}},
    "batchnorm": {},  # with convolution and dropout
    "narrow": {"head": {"weight_dtype": "bfloat16", "momentum_dtype": "int8", "sample_rate": 0.5}},
    "adamw": {"optimizer": {"name": "adamw", "lr": 0.01}},
    "bfloat16": {"train": {"amp": "bfloat16"}, "head": {"compute_dtype": "bfloat16"}},
}


def train(folder: Path, device: str, sections: dict[str, Any]) -> dict[str, Any]:
    """A run with a verification, and its resume to a later step with another: its records."""
    for steps in (FIRST, LAST):
        of_train = {**sections.get("train", {}), "steps": steps, "log_every": 1}
        sets = {"sets": {"seen": str(folder / "pairs.bin")}}
        sections = {**sections, "train": of_train, "verification": sets, "schedule": {"name": "constant"}}
        trainer = Trainer(small_config(folder, **sections), torch.device(device))
        with trainer.running():
            trainer.run()
    records = read_metrics(folder / "run")
    return {
        "losses": [record["loss"] for record in records if record["event"] == "train"],
        "accuracies": [record["accuracy"] for record in records if record["event"] == "verification"],
    }


def run_both(
    on_pretend: Any, folder: Path, sections: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same run there and on the CPU."""
    write_pairs(folder / "pairs.bin", make_pairs(open_source(folder / "train.rec"), pairs=40, seed=0))
    places = [moved(folder, name) for name in ("there", "here")]
    for place in places:
        (place / "pairs.bin").symlink_to(folder / "pairs.bin")
    return on_pretend(train, places[0], "pretend:0", sections), train(places[1], "cpu", sections)


@pytest.mark.parametrize("case", CASES)
def test_a_run_and_its_resume_are_those_of_the_cpu(on_pretend, folder, case):
    there, here = run_both(on_pretend, folder, CASES[case])
    exact = case in ("float64", "accumulation")
    assert len(here["losses"]) == LAST
    assert there["losses"] == pytest.approx(here["losses"], rel=1e-9 if exact else 0.05)
    assert len(there["accuracies"]) == len(here["accuracies"]) >= 2
    if exact:
        assert there["accuracies"] == here["accuracies"]


def waits_of_steps(folder: Path) -> list[str]:
    """Where the steps of a run wait, logging and the end of the run apart."""
    trainer = Trainer(small_config(folder, train={"steps": 100}), torch.device("pretend:0"))
    with trainer.running():
        trainer._train_step()
        machine.log.clear()
        for _ in range(3):
            with trainer.clock.step():
                trainer._train_step()
        return [f"{fault.kind} at {fault.site.partition(':')[0]}" for fault in machine.log.faults]


def test_a_step_waits_once_to_hear_whether_it_is_finite(on_pretend, folder):
    assert on_pretend(waits_of_steps, folder) == ["blocking copy at training/loop.py"] * 3
