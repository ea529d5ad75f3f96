"""Steps that are not finite on the pretend accelerator: the device undoes them, the host hears it later."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import partialfc
from partialfc.checkpoint import read_state
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from tests.pretend.machine import machine
from tests.train_cases import small_config
from tests.training.cases import moved

LOUD = {"name": "tests.train_cases:Loud"}
OPTIMIZERS = {"sgd": {"name": "sgd", "lr": 0.1}, "adamw": {"name": "adamw", "lr": 0.01}}


def poisoned(*forwards: int) -> dict[str, Any]:
    return {"name": "tests.train_cases:Poisoned", "options": {"steps": list(forwards)}}


def everything(trainer: Trainer) -> dict[str, Tensor]:
    """All that a checkpoint has in tensors, random generators apart."""
    tensors = trainer.state.tensors()
    parts = {**tensors.sharded, **tensors.replicated}
    return {name: tensor.detach().cpu().clone() for name, tensor in parts.items()}


def around_a_bad_step(
    folder: Path, sections: dict[str, Any], good: int
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    """All tensors before and after the step that follows `good` ones, and what the steps waited for."""
    trainer = Trainer(small_config(folder, **sections), torch.device("pretend:0"))
    with trainer.running():
        for _ in range(good):
            trainer._train_step()
        trainer.later.finish()
        before = everything(trainer)
        machine.log.clear()
        trainer._train_step()
        faults = [str(fault) for fault in machine.log.faults]
        trainer.later.finish()
        assert trainer.state.nonfinite_steps + trainer.state.overflow_steps == 1
        return before, everything(trainer), faults


BAD: dict[str, tuple[int, dict[str, Any]]] = {
    "the first": (0, {"backbone": poisoned(1)}),
    "a later one": (3, {"backbone": poisoned(4)}),
    "every row": (2, {"backbone": poisoned(3), "head": {"sample_rate": 1.0}}),
    "frozen rows": (2, {"backbone": poisoned(3), "head": {"unsampled": "frozen"}}),
    "narrow rows": (2, {"backbone": poisoned(3), "head": {"weight_dtype": "bfloat16"}}),
    "a micro-batch": (2, {"backbone": poisoned(6), "train": {"accumulation": 2, "clip_norm": 1.0}}),
    "overflow": (0, {"backbone": LOUD, "train": {"amp": "float16"}}),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("case", BAD)
def test_a_bad_step_leaves_no_trace_and_the_host_does_not_wait_for_it(on_pretend, folder, case, optimizer):
    good, sections = BAD[case]
    sections = {**sections, "optimizer": OPTIMIZERS[optimizer]}
    before, after, faults = on_pretend(around_a_bad_step, folder, sections, good)
    assert faults == []
    for name, tensor in after.items():
        # A buffer that the step made begins at zero.
        expected = before.get(name, torch.zeros_like(tensor))
        assert torch.equal(tensor, expected), name
    assert before.keys() <= after.keys()


def records_of(folder: Path, device: str, sections: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of a run, its times apart; and at its end the counts that its last checkpoint keeps."""
    config = small_config(folder, **sections)
    trainer = Trainer(config, torch.device(device))
    try:
        with trainer.running():
            trainer.run()
    except partialfc.NonFiniteError as error:
        return [*told(folder), {"error": str(error)}]
    state = read_state(trainer.checkpoints.path)
    counts = {name: state[name] for name in ("step", "nonfinite_steps", "overflow_steps")}
    return [*told(folder), counts | (state["loss_scale"] or {})]


def told(folder: Path) -> list[dict[str, Any]]:
    timed = (
        "time",
        "seconds",
        "images_per_second",
        "path",
        "target_angle_histogram",
        "step_seconds",
        "phase_seconds",
    )
    return [{k: v for k, v in each.items() if k not in timed} for each in read_metrics(folder / "run")]


RUNS: dict[str, dict[str, Any]] = {
    "first and last": {"backbone": poisoned(1, 12)},
    "two in a row": {"backbone": poisoned(4, 5), "train": {"log_every": 4}},
    "before a checkpoint": {"backbone": poisoned(5, 6), "checkpoint": {"every_steps": 5}},
    "micro-batches": {"backbone": poisoned(2, 5), "train": {"accumulation": 2, "steps": 6}},
    "adamw": {"backbone": poisoned(1, 3), "optimizer": OPTIMIZERS["adamw"]},
    "float16": {"backbone": LOUD, "train": {"amp": "float16", "steps": 30, "max_nonfinite_steps": 1}},
    "float16, a bad loss": {"backbone": poisoned(2, 3), "train": {"amp": "float16", "steps": 5}},
    "the limit": {"backbone": poisoned(*range(4, 99)), "train": {"max_nonfinite_steps": 3}},
    "the limit at the end": {"backbone": poisoned(11, 12), "train": {"max_nonfinite_steps": 2}},
    "a scale too low": {
        "backbone": {"name": "tests.train_cases:Exploding"},
        "train": {"amp": "float16", "steps": 40, "max_nonfinite_steps": 3, "log_every": 100},
    },
}


@pytest.mark.parametrize("case", RUNS)
def test_a_run_with_bad_steps_tells_what_it_tells_on_a_cpu(on_pretend, folder, case):
    places = [moved(folder, name) for name in ("there", "here")]
    there = on_pretend(records_of, places[0], "pretend:0", RUNS[case])
    here = records_of(places[1], "cpu", RUNS[case])
    assert exact(there) == exact(here)
    assert floats(there) == pytest.approx(floats(here), rel=0.02)
    assert any(each.get("event") in ("nonfinite", "overflow") for each in here)


def exact(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What has to be equal to the last bit: events, steps, counts, causes, and the loss scale."""
    kept = "loss_scale", "scale", "lr", "epoch"
    return [{k: v for k, v in each.items() if k in kept or not isinstance(v, float)} for each in records]


def floats(records: list[dict[str, Any]]) -> list[float]:
    return [value for each in records for value in each.values() if isinstance(value, float)]
