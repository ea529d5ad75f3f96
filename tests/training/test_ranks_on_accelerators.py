"""Runs of two ranks that each have the pretend accelerator: the losses and the backbone of the CPU's ranks.

In a group as `partialfc train` makes it, with gloo for the host's values.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from tests.pretend.collectives import BESIDE_GLOO
from tests.pretend.machine import machine
from tests.train_cases import small_config
from tests.training.cases import EXACT, moved

STEPS, RANKS = 4, 2


def train(folder: Path, device: str, sections: dict[str, Any]) -> tuple[list[float], dict[str, torch.Tensor]]:
    """A run with a checkpoint, and its resume: the losses, and the backbone in the end."""
    for steps in (STEPS - 1, STEPS):
        of_train = {**sections.get("train", {}), "steps": steps, "log_every": 1}
        config = small_config(folder, **{**sections, "train": of_train, "schedule": {"name": "constant"}})
        trainer = Trainer(config, torch.device(device))
        with trainer.running():
            trainer.run()
    records = read_metrics(folder / "run")
    losses = [record["loss"] for record in records if record["event"] == "train"]
    return losses, {name: value.cpu() for name, value in trainer.objective.backbone.state_dict().items()}


@pytest.mark.parametrize(
    "sections",
    [
        {**EXACT, "train": {"accumulation": 2, "clip_norm": 1.0}},
        {**EXACT, "head": {**EXACT["head"], "sample_rate": 0.3}},
    ],
    ids=["accumulation", "sampled"],
)
def test_a_run_and_its_resume_are_those_of_the_cpu(ranks_on_pretend, run_ranks, folder, sections):
    there, here = (moved(folder, name) for name in ("there", "here"))
    found = ranks_on_pretend(train, RANKS, there, "pretend:0", sections, backend=BESIDE_GLOO)
    expected = run_ranks(train, RANKS, here, "cpu", sections)
    for (losses, backbone), (of_cpu, backbone_of_cpu) in zip(found, expected, strict=True):
        assert len(losses) == STEPS
        assert losses == pytest.approx(of_cpu, rel=1e-9)
        for name, value in backbone_of_cpu.items():
            torch.testing.assert_close(backbone[name], value, atol=1e-9, rtol=1e-9, msg=name)


def bad_steps(folder: Path, train: dict[str, Any]) -> tuple[list[str], bool, dict[str, Any]]:
    """What the steps of a run wait for, one rank's last ones bad; whether these left no trace; the counts.

    What nothing of the package asks for is left out: what DistributedDataParallel gets of this device's group
    lies on the CPU. The last step explains the one before, which waits.
    """
    poisoned = {"name": "tests.train_cases:Poisoned", "options": {"steps": [4, 5], "rank": 1}}
    config = small_config(folder, backbone=poisoned, train={"steps": 100, **train})
    trainer = Trainer(config, torch.device("pretend:0"))

    def everything() -> list[torch.Tensor]:
        tensors = trainer.state.tensors()
        return [
            each.detach().cpu().clone() for each in (*tensors.sharded.values(), *tensors.replicated.values())
        ]

    faults, before = [], []
    with trainer.running():
        for step in range(1, 6):
            if step == 4:
                trainer.later.finish()
                before = everything()
            machine.log.clear()
            trainer._train_step()
            trainer._log()
            if 1 < step < 5:
                faults += [str(fault) for fault in machine.log.faults if fault.site != "?"]
        trainer.later.finish()
        same = all(map(torch.equal, before, everything()))
        return faults, same, trainer.state.values()


@pytest.mark.parametrize(
    ("train", "ranks"),
    [({}, "1"), ({"sync_batchnorm": True}, "0, 1"), ({"amp": "float16"}, "1")],
    ids=["float32", "statistics of all ranks", "float16"],
)
def test_a_bad_step_of_one_rank_leaves_no_trace_on_any_and_none_waits_for_it(
    ranks_on_pretend, folder, train, ranks
):
    for faults, same, values in ranks_on_pretend(bad_steps, RANKS, folder, train, backend=BESIDE_GLOO):
        assert faults == []
        assert same
        assert values["nonfinite_steps"] == 2
    records = read_metrics(folder / "run")
    causes = [each["cause"] for each in records if each["event"] == "nonfinite"]
    assert causes == [f"step {step}: non-finite embedding norm on rank {ranks}" for step in (4, 5)]
