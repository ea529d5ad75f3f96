"""Whole runs on a GPU: the CPU's losses, resumes there and here, skipped steps, steps that never wait."""

from pathlib import Path
from typing import Any

import pytest
import torch

from partialfc.data.images.codec import encode_jpeg
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from tests import train_cases
from tests.devices import CPU, never_waiting, on_cuda_alone, on_real_devices_alone, the_device
from tests.processes import call
from tests.train_cases import small_config
from tests.training.cases import EXACT, losses
from tests.training.test_accelerator import CASES, FIRST, LAST, train

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEGs: a GPU machine may have no OpenCV, which reads the others."""
    folder = tmp_path_factory.mktemp("data")
    train_cases.write_data(folder, encode=encode_jpeg)
    write_pairs(folder / "pairs.bin", make_pairs(open_source(folder / "train.rec"), pairs=40, seed=0))
    return folder


def place(data: Path, folder: Path, name: str) -> Path:
    """A folder for a run, with the data."""
    other = folder / name
    other.mkdir()
    for file in data.iterdir():
        (other / file.name).symlink_to(file)
    return other


def run_on(device: torch.device, folder: Path, **sections: Any) -> Trainer:
    trainer = Trainer(small_config(folder, **sections), device)
    with trainer.running():
        trainer.run()
    trainer.objective.head_optimizer.flush()
    return trainer


@pytest.mark.parametrize("case", CASES)
def test_a_run_and_its_resume_are_those_of_the_cpu(data, tmp_path, case):
    there = train(place(data, tmp_path, "there"), str(the_device()), CASES[case])
    here = train(place(data, tmp_path, "here"), "cpu", CASES[case])
    exact = case in ("float64", "accumulation")
    assert len(there["losses"]) == LAST
    assert there["losses"] == pytest.approx(here["losses"], rel=1e-9 if exact else 0.05)
    assert len(there["accuracies"]) == len(here["accuracies"]) >= 2
    if exact:
        assert there["accuracies"] == here["accuracies"]


@pytest.mark.parametrize("back", [False, True], ids=["to the CPU", "from the CPU"])
def test_a_checkpoint_of_one_device_is_resumed_on_the_other(data, tmp_path, back):
    devices = [CPU, the_device()] if back else [the_device(), CPU]
    both, alone = place(data, tmp_path, "both"), place(data, tmp_path, "alone")
    for device, steps in zip(devices, (FIRST, LAST), strict=True):
        for folder, where in ((both, device), (alone, CPU)):
            sections = EXACT | {"schedule": {"name": "constant"}, "train": {"steps": steps, "log_every": 1}}
            run_on(where, folder, **sections)
    assert losses(both) == pytest.approx(losses(alone), rel=1e-9)
    assert len(losses(both)) == LAST


def test_a_step_that_is_not_finite_is_skipped_and_leaves_no_trace(data, tmp_path):
    folder = place(data, tmp_path, "run")
    backbone = {"name": "tests.train_cases:Poisoned", "options": {"steps": [3, 4]}}
    trainer = run_on(the_device(), folder, backbone=backbone)
    assert torch.isfinite(trainer.objective.head.weight).all().item()
    assert all(
        torch.isfinite(tensor).all().item() for tensor in trainer.objective.backbone.state_dict().values()
    )
    skipped = [record for record in read_metrics(folder / "run") if record["event"] == "nonfinite"]
    assert [record["step"] for record in skipped] == [3, 4]
    assert "step 3: non-finite embedding norm" in skipped[0]["cause"]


@on_real_devices_alone
def test_float16_finds_its_loss_scale(data, tmp_path):
    folder = place(data, tmp_path, "run")
    backbone = {"name": "tests.train_cases:Loud"}
    train = {"amp": "float16", "steps": 30, "max_nonfinite_steps": 1}
    run_on(the_device(), folder, backbone=backbone, train=train)
    records = read_metrics(folder / "run")
    overflows = [record["loss_scale"] for record in records if record["event"] == "overflow"]
    assert overflows[:3] == [2.0**15, 2.0**14, 2.0**13]
    found = losses(folder)
    assert found[-1] < 0.5 * found[len(overflows)]


@on_real_devices_alone
@pytest.mark.slow
@pytest.mark.parametrize("amp", [None, "bfloat16"], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("channels_last", [False, True], ids=["rows", "channels last"])
def test_a_compiled_backbone_has_the_losses_of_one_that_is_not(data, tmp_path, amp, channels_last):
    curves = []
    for compiled in (False, True):
        folder = place(data, tmp_path, f"compiled {compiled}")
        backbone = {"name": "convnet", "compile": compiled, "channels_last": channels_last}
        train = {"amp": amp, "steps": 3, "log_every": 1}
        run_on(the_device(), folder, backbone=backbone, train=train, optimizer={"lr": 0.01})
        curves.append(losses(folder))
    assert curves[1] == pytest.approx(curves[0], rel=0.02)


@pytest.mark.parametrize("case", ["batchnorm", "narrow", "adamw", "bfloat16"])
def test_a_step_and_its_log_line_wait_for_nothing(data, tmp_path, case):
    sections = CASES[case] | {"train": {**CASES[case].get("train", {}), "steps": 100}}
    trainer = Trainer(small_config(place(data, tmp_path, "run"), **sections), the_device())

    def step() -> None:
        with trainer.clock.step():
            trainer._train_step()
        trainer._log()

    with trainer.running():
        for _ in range(3):
            step()
        with never_waiting():
            for _ in range(3):
                step()


@on_cuda_alone
@pytest.mark.parametrize("launcher", [0, 1], ids=["alone", "torchrun"])
def test_a_deterministic_run_repeats_bit_for_bit_on_cuda(tmp_path, launcher):
    """In a process of its own, because cuBLAS reads its variable when it starts."""
    train_cases.write_data(tmp_path, encode=encode_jpeg)
    curves = []
    for name in ("one", "two"):
        config = train_cases.saved_config(tmp_path, "train.device=cuda", "train.deterministic=true")
        done = call("train", config, f"run.dir={tmp_path / name}", ranks=launcher)
        assert done.returncode == 0, done.stderr
        records = read_metrics(tmp_path / name)
        curves.append([record["loss"] for record in records if record["event"] == "train"])
    assert curves[0] == curves[1]
