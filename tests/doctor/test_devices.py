"""GPUs, cores and the backend between ranks."""

import pytest
import torch

from partialfc.doctor import Level
from partialfc.doctor.devices import judge_backend, judge_cpu
from tests.doctor.cases import found, quick


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_red(folder):
    check = found(quick(folder, "train.device=cuda"), "device")
    assert check.level == Level.RED
    assert "this machine has 0" in check.says
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
