"""GPUs, cores and the backend between ranks."""

import pytest
import torch

from partialfc.doctor import Level
from partialfc.doctor.devices import judge_amp, judge_backend, judge_cpu
from tests.doctor.cases import examined, found, quick
from tests.train_cases import small_config


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_red(folder):
    check = found(quick(folder, "train.device=cuda"), "device")
    assert check.level == Level.RED
    assert "no such accelerator on this machine" in check.says
    assert "train.device=cpu" in check.remedy


def test_crowded_cores_and_an_unused_gpu_are_yellow():
    assert judge_cpu(8, 4, 2, load=1.0, unused_gpu=False).level == Level.GREEN
    crowded = judge_cpu(8, 8, 2, load=1.0, unused_gpu=False)
    assert crowded.level == Level.YELLOW
    assert crowded.remedy.endswith("to 4")
    assert "CUDA build" in judge_cpu(8, 4, 2, load=1.0, unused_gpu=True).remedy
    assert "load is 20.0" in judge_cpu(8, 4, 2, load=20.0, unused_gpu=False).says


def test_gpus_without_nccl_are_red():
    assert judge_backend("cuda", 2, nccl=False, interface=None).level == Level.RED
    assert judge_backend("cuda", 1, nccl=False, interface=None).level == Level.GREEN
    assert "eth1" in judge_backend("cuda", 2, nccl=True, interface="eth1").says


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
