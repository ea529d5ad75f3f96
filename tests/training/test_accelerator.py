"""Whole runs on the pretend accelerator: the CPU's losses, verifications and resumes; what steps wait for.

Steps that are not finite are in test_accelerator_nonfinite.py.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import partialfc
from partialfc.config import Config
from partialfc.data.images.codec import encode_png
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from tests.paths import FIXTURES
from tests.pretend.machine import machine
from tests.train_cases import SIZE, small_config, write_class_records
from tests.training.cases import EXACT, INTERRUPTED, losses, moved, run

BESIDE = [
    {"name": "center", "weight": 0.01},
    {"name": "contrastive", "weight": 1.0},
    {"name": "angular_contrastive", "weight": 1.0},
    {"name": "triplet", "weight": 1.0, "mining": "all"},
]
STAGES = [
    {"from_step": 1, "until_step": 6, "head.margin.margin": {"from": 0.0, "to": 0.5}},
    {"from_step": 4, "head.sample_rate": 0.5, "head.interclass_filter": 0.4},
]
FINETUNE = {
    "backbone_from": str(FIXTURES / "run_0.1.0"),
    "freeze": ["layers.1"],
    "lr_scale": {"layers.3": 0.5},
    "lora": {"rank": 2, "patterns": ["layers.3"]},
}
TINY = {"name": "tests.train_cases:Tiny"}
FIRST, LAST = 4, 7  # the steps of a run, and of its resume
CASES: dict[str, dict[str, Any]] = {
    "float64": EXACT,
    "accumulation": {**EXACT, "train": {"accumulation": 2, "clip_norm": 1.0}},
    "losses": {**EXACT, "losses": BESIDE},
    "stages": {**EXACT, "stages": STAGES},
    "batchnorm": {},  # with convolution and dropout
    "narrow": {"head": {"weight_dtype": "bfloat16", "momentum_dtype": "int8", "sample_rate": 0.5}},
    "adamw": {"optimizer": {"name": "adamw", "lr": 0.01}},
    "bfloat16": {"train": {"amp": "bfloat16"}, "head": {"compute_dtype": "bfloat16"}},
    "finetune": {**EXACT, "finetune": FINETUNE},
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
    exact = case in ("float64", "accumulation", "losses", "stages", "finetune")
    assert len(here["losses"]) == LAST
    assert there["losses"] == pytest.approx(here["losses"], rel=1e-9 if exact else 0.05)
    assert len(there["accuracies"]) == len(here["accuracies"]) >= 2
    if exact:
        assert there["accuracies"] == here["accuracies"]


STEPS: dict[str, dict[str, Any]] = {
    "float32": {},
    "accumulation": {"train": {"accumulation": 2, "clip_norm": 1.0}},
    "adamw": {"optimizer": {"name": "adamw", "lr": 0.01}},
    "bfloat16": {"train": {"amp": "bfloat16"}, "head": {"compute_dtype": "bfloat16"}},
    "float16": {"train": {"amp": "float16"}},
    "frozen": {"optimizer": {"momentum": 0.0}},
    "losses": {"losses": BESIDE},
    "finetune": {"backbone": TINY, "finetune": FINETUNE},
    "all frozen": {
        "backbone": TINY,
        "finetune": {**FINETUNE, "freeze": ["*"], "lora": None},
        "train": {"amp": "float16"},
    },
}


def faults_of_steps(folder: Path, sections: dict[str, Any]) -> list[str]:
    """What the steps of a run wait for, log lines included, the first step and the end of the run apart."""
    train = {"steps": 100, **sections.get("train", {})}
    trainer = Trainer(small_config(folder, **{**sections, "train": train}), torch.device("pretend:0"))
    with trainer.running():
        for step in range(5):
            if step == 1:
                machine.log.clear()
            with trainer.clock.step():
                trainer._train_step()
            trainer._log()
        return [str(fault) for fault in machine.log.faults]


@pytest.mark.parametrize("case", STEPS)
def test_a_step_and_its_log_line_wait_for_nothing(on_pretend, folder, case):
    assert on_pretend(faults_of_steps, folder, STEPS[case]) == []


def run_there(config: Config) -> dict[str, Any]:
    """A whole run on the device; what it left behind."""
    trainer = Trainer(config, torch.device("pretend:0"))
    with trainer.running():
        finished = trainer.run()
    tensors = trainer.state.tensors()
    kept = {**tensors.sharded, **tensors.replicated, **tensors.private}
    return {
        "finished": finished,
        "step": trainer.state.step,
        "tensors": {name: tensor.detach().cpu() for name, tensor in kept.items()},
    }


STOPS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adamw": {"optimizer": {"name": "adamw", "lr": 0.01}},
    "float16": {"train": {"amp": "float16"}},
    "at a checkpoint": {"checkpoint": {"every_steps": 7}},
}


@pytest.mark.parametrize("case", STOPS)
def test_a_stop_is_heard_a_step_later_and_its_resume_ends_as_if_there_had_been_none(on_pretend, folder, case):
    """SIGTERM in step 7 of 12. Where that step's checkpoint is due, all is heard before it is written."""
    whole, parts, sections = moved(folder, "whole"), moved(folder, "parts"), STOPS[case]
    never = {"backbone": INTERRUPTED | {"options": {"at": 10**9}}}
    expected = on_pretend(run_there, small_config(whole, **sections, **never))
    stopped = on_pretend(run_there, small_config(parts, **sections, backbone=INTERRUPTED))
    at = 7 if case == "at a checkpoint" else 8
    assert (stopped["finished"], stopped["step"]) == (False, at)
    records = read_metrics(parts / "run")
    assert [each["step"] for each in records if each["event"] == "train"] == list(range(1, at + 1))
    assert records[-1]["event"] == "checkpoint"
    resumed = on_pretend(run_there, small_config(parts, **sections, **never))
    assert resumed["finished"]
    assert str(losses(parts)) == str(losses(whole))  # as text: a step that was skipped has no loss
    assert resumed["tensors"].keys() == expected["tensors"].keys()
    for name, tensor in expected["tensors"].items():
        assert torch.equal(tensor, resumed["tensors"][name]), name


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "lr": 0.1}, {"name": "adamw", "lr": 0.01}])
@pytest.mark.parametrize("there_first", [True, False], ids=["to the CPU", "from the CPU"])
def test_a_checkpoint_goes_on_elsewhere(on_pretend, folder, optimizer, there_first):
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    sections = {**EXACT, "optimizer": optimizer, "schedule": {"name": "constant"}}
    run(small_config(whole, **sections))
    for steps, there in ((5, there_first), (12, not there_first)):
        config = small_config(parts, **sections, train={"steps": steps})
        on_pretend(run_there, config) if there else run(config)
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-9)


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "lr": 0.1}, {"name": "adamw", "lr": 0.01}])
def test_a_checkpoint_goes_on_in_another_memory_order(on_pretend, folder, optimizer):
    """A fused kernel takes a parameter's and its momentum's elements as they lie in memory."""
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    sections = {"optimizer": optimizer, "schedule": {"name": "constant", "warmup_steps": 0}}
    for place, steps, channels_last in ((whole, 4, False), (parts, 2, False), (parts, 4, True)):
        backbone = {"name": "convnet", "channels_last": channels_last}
        train = {"steps": steps, "batch_size": 8}
        on_pretend(run_there, small_config(place, **sections, backbone=backbone, train=train))
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-2)


def around_a_failure(folder: Path) -> tuple[str, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A run whose loader fails in its first step: the error, and the tensors before and after."""
    trainer = Trainer(small_config(folder), torch.device("pretend:0"))
    found = []
    for _ in range(2):
        tensors = trainer.state.tensors()
        parts = {**tensors.sharded, **tensors.replicated}
        found.append({name: tensor.detach().cpu().clone() for name, tensor in parts.items()})
        if len(found) == 1:
            with pytest.raises(partialfc.ImageError) as raised, trainer.running():
                trainer.run()
    return str(raised.value), *found


def test_steps_without_a_batch_are_not_applied(on_pretend, tmp_path):
    """That of the failure, and the one that is done until it is heard of."""
    image = encode_png(np.full((SIZE, SIZE, 1), 99, np.uint8))
    images = [
        (float(label), b"not an image" if label == 2 else image) for label in range(4) for _ in range(6)
    ]
    write_class_records(tmp_path / "train.rec", images, classes=4)
    message, before, after = on_pretend(around_a_failure, tmp_path)
    assert "no JPEG" in message
    assert not list((tmp_path / "run").glob("checkpoints/step-*"))
    for name, tensor in after.items():
        assert torch.equal(tensor, before.get(name, torch.zeros_like(tensor))), name


def lines(folder: Path, device: str) -> list[dict[str, Any]]:
    """The log lines of a run that writes few of them, without times and rounding."""
    config = small_config(folder, train={"steps": 8, "log_every": 3}, schedule={"warmup_steps": 4})
    trainer = Trainer(config, torch.device(device))
    with trainer.running():
        trainer.run()
    names = ("step", "epoch", "samples", "lr", "centres", "nonfinite_steps")
    found = [each for each in read_metrics(folder / "run") if each["event"] == "train"]
    assert all(sum(each["target_angle_histogram"]) == 24 for each in found)
    return [{name: each[name] for name in names} for each in found]


def test_log_lines_are_about_their_own_step(on_pretend, folder):
    there = on_pretend(lines, moved(folder, "there"), "pretend:0")
    assert [each["step"] for each in there] == [1, 3, 6, 8]
    assert there == lines(moved(folder, "here"), "cpu")
