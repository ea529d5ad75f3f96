"""train.deterministic: a run calls nothing that it makes an error on a GPU, and CUDA is set up for it."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from partialfc.backbones import build_backbone
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.training.determinism import set_determinism
from partialfc.training.run import train
from tests import processes
from tests.torch_calls import TorchCalls, without_determinism
from tests.train_cases import saved_config, small_config
from tests.training.cases import losses, moved


@pytest.fixture(autouse=True)
def undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    torch.use_deterministic_algorithms(False)


SECTIONS: list[dict[str, Any]] = [
    {"head": {"weight_dtype": "bfloat16", "momentum_dtype": "int8"}, "train": {"accumulation": 2}},
    {"head": {"compute_dtype": "bfloat16", "unsampled": "frozen"}},
    {"optimizer": {"name": "adamw", "lr": 0.01}, "head": {"sample_rate": 1.0}},
]


@pytest.mark.parametrize("sections", SECTIONS)
def test_a_deterministic_run_calls_nothing_that_fails_on_a_gpu_and_is_the_same_run(folder, sections):
    """The mode also fills uninitialised memory with NaN: a read of it would show."""
    write_pairs(folder / "pairs.bin", make_pairs(open_source(folder / "train.rec"), pairs=40, seed=0))
    sections = sections | {"verification": {"sets": {"seen": str(folder / "pairs.bin")}, "every_steps": 4}}
    plain, strict = moved(folder, "plain"), moved(folder, "strict")
    assert train(small_config(plain, "train.steps=5", **sections)) == 0
    with TorchCalls() as calls:
        assert train(small_config(strict, "train.steps=5", "train.deterministic=true", **sections)) == 0
    assert calls.counts["convolution"] > 0
    assert calls.counts["convolution_backward"] == 5 * sections.get("train", {}).get("accumulation", 1)
    assert without_determinism(calls) == set()
    assert torch.are_deterministic_algorithms_enabled()
    assert losses(strict) == losses(plain)


@pytest.mark.parametrize("name", ["convnet", "mobilefacenet", "iresnet18"])
def test_no_backbone_calls_anything_that_fails_on_a_gpu(name):
    backbone = build_backbone(name, embedding_size=16, image_size=32, channels=3)
    with TorchCalls() as calls:
        backbone(torch.randn(2, 3, 32, 32)).sum().backward()
    assert calls.counts["convolution_backward"] > 0
    assert without_determinism(calls) == set()


def test_what_fails_on_a_gpu_is_noticed():
    values = torch.rand(4, 4, requires_grad=True)
    image = torch.rand(1, 1, 4, 4, requires_grad=True)
    with TorchCalls() as calls:
        torch.histc(values.detach())
        values.cumsum(0)
        torch.nn.functional.adaptive_avg_pool2d(image, 2).sum().backward()
        torch.bincount(torch.tensor([1, 2]), torch.ones(2))
        torch.tensor([1, 2]).cumsum(0)
    found = {"histc", "cumsum of floats", "_adaptive_avg_pool2d_backward", "bincount with weights"}
    assert without_determinism(calls) == found


def test_cublas_is_told_before_cuda_starts():
    set_determinism(False)
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    set_determinism(True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert torch.are_deterministic_algorithms_enabled()


def test_a_choice_that_is_deterministic_stays(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    set_determinism(True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_a_choice_that_is_not_is_one_line(tmp_path):
    environment = processes.ENVIRONMENT | {"CUBLAS_WORKSPACE_CONFIG": ":0:0"}
    config = saved_config(tmp_path, "train.deterministic=true")
    done = processes.call("train", config, environment=environment)
    assert done.returncode == 1
    says = "train.deterministic is true, and CUBLAS_WORKSPACE_CONFIG is ':0:0'; it must be :4096:8 or :16:8"
    assert done.stderr.startswith(f"partialfc: ConfigError: {says}")
    assert len(done.stderr.splitlines()) == 1
    told = processes.call("doctor", config, "--quick", environment=environment)
    assert told.returncode == 1
    assert says in told.stdout


def test_the_doctor_computes_as_the_run_does(folder):
    from tests.doctor.cases import examined

    examined(small_config(folder, "train.deterministic=true"), quick=True)
    assert torch.are_deterministic_algorithms_enabled()
    examined(small_config(folder), quick=True)
    assert not torch.are_deterministic_algorithms_enabled()
