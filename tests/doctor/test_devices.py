"""GPUs, cores and the backend between ranks."""

from pathlib import Path

import pytest
import torch

from partialfc.doctor import Level
from partialfc.doctor.devices import check_backend, judge_amp, judge_backend, judge_cpu
from tests.doctor.cases import examined, found, quick
from tests.train_cases import small_config


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_red(folder):
    check = found(quick(folder, "train.device=cuda"), "device")
    assert check.level == Level.RED
    assert "finds no such accelerator on this machine: it finds none; choose cpu or auto" in check.says
    assert check.remedy == "set train.device=auto"


def test_crowded_cores_and_an_unused_gpu_are_yellow():
    assert judge_cpu(8, 4, 2, load=1.0, unused_gpu=False).level == Level.GREEN
    crowded = judge_cpu(8, 8, 2, load=1.0, unused_gpu=False)
    assert crowded.level == Level.YELLOW
    assert crowded.remedy.endswith("to 4")
    assert "CUDA build" in judge_cpu(8, 4, 2, load=1.0, unused_gpu=True).remedy
    assert "load is 20.0" in judge_cpu(8, 4, 2, load=20.0, unused_gpu=False).says


def test_gpus_without_nccl_are_red():
    without = judge_backend("cuda", 2, own="nccl", available=False, interface=None)
    assert without.level == Level.RED
    assert without.says == "this torch has no nccl, which would carry tensors of cuda between ranks"
    assert judge_backend("cuda", 1, own="nccl", available=False, interface=None).level == Level.GREEN
    with_it = judge_backend("cuda", 2, own="nccl", available=True, interface="eth1")
    assert with_it.says == "gloo and NCCL over eth1"


@pytest.mark.parametrize(("kind", "own"), [("xpu", "xccl"), ("cpu", None)])
def test_the_backend_is_that_of_the_device(kind, own):
    check = check_backend(torch.device(kind), 2)
    available = own is None or torch.distributed.is_backend_available(own)
    assert check.level == (Level.GREEN if available else Level.RED)
    assert (own or "gloo") in check.says.lower()


def test_a_name_that_torch_does_not_know_is_red(folder):
    check = found(quick(folder, "train.device=gpu"), "device")
    assert check.level == Level.RED
    assert "'gpu', which this torch does not know" in check.says


def lines_of(folder: Path, choice: str) -> dict[str, str]:
    """The report of a job there, by check."""
    report = examined(small_config(folder, f"train.device={choice}"))
    return {each.check.name: f"{each.check.level}: {each.check.says}" for each in report.findings}


@pytest.mark.parametrize("choice", ["auto", "pretend"])
def test_an_accelerator_of_any_name_is_examined(on_pretend, folder, choice):
    lines = on_pretend(lines_of, folder, choice)
    assert lines["device"] == "green: pretend:0, pretend, 85.9 GB"
    assert lines["backend"] == "green: none needed, there is one rank"
    assert lines["amp"] == "green: none; bfloat16 would be faster here"
    assert " of 85.9 GB" in lines["memory"]
    assert lines["step"].startswith("green: computes ")
    assert lines["loading"].startswith("green: ")
    assert not [line for line in lines.values() if line.startswith("red")]


def test_another_accelerator_than_the_machines_is_red(on_pretend, folder):
    says = on_pretend(lines_of, folder, "cuda")["device"]
    assert says.startswith(
        "red: train.device is 'cuda', but torch finds no such accelerator on this machine: "
    )
    assert says.endswith("it finds pretend; choose pretend, cpu or auto")


@pytest.mark.parametrize(
    ("amp", "device", "bfloat16", "float16", "level", "words"),
    [
        ("bfloat16", "cuda", True, True, Level.GREEN, "bfloat16"),
        ("auto", "cuda", True, True, Level.GREEN, "bfloat16"),
        (None, "cuda", True, True, Level.GREEN, "none; bfloat16 would be faster"),
        ("float16", "cuda", True, True, Level.GREEN, "bfloat16, which this GPU has too"),
        ("bfloat16", "cuda", False, True, Level.YELLOW, "set train.amp to float16"),
        ("auto", "cuda", False, True, Level.YELLOW, "set train.amp to float16"),
        ("float16", "cuda", False, True, Level.GREEN, "float16"),
        (None, "cuda", False, True, Level.GREEN, "none; float16 would be faster"),
        ("bfloat16", "cuda", False, False, Level.YELLOW, "set train.amp to auto"),
        ("bfloat16", "cpu", False, False, Level.YELLOW, "set train.amp to auto"),
        ("float16", "cpu", True, False, Level.YELLOW, "set train.amp to auto"),
        ("auto", "cpu", False, False, Level.GREEN, "none"),
        (None, "cpu", False, False, Level.GREEN, "none"),
    ],
)
def test_the_autocast_type_that_suits_the_device_is_named(amp, device, bfloat16, float16, level, words):
    check = judge_amp(amp, device, bfloat16=bfloat16, float16=float16)
    assert check.level == level
    assert words in f"{check.says} {check.remedy}"


def test_a_job_in_float16_is_examined_whole(folder):
    report = examined(small_config(folder, "train.amp=float16"))
    assert report.level == Level.YELLOW
    assert found(report, "amp").says == "float16, which is slow on a CPU"
    assert found(report, "step").level == Level.GREEN
