"""A rank's device by its name: what is chosen, what it computes fast, and what is refused."""

import os

import pytest
import torch

from partialfc.config.train import TrainConfig
from partialfc.distributed.device import backends_for, has_bfloat16, has_float16, local_device
from partialfc.errors import ConfigError, DistributedError

without_accelerator = pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has one")


@without_accelerator
def test_without_an_accelerator_auto_is_the_cpu():
    assert local_device("auto") == local_device("cpu") == torch.device("cpu")


def chosen(choice: str, rank: str | None = None) -> tuple[str, int]:
    if rank is not None:
        os.environ["LOCAL_RANK"] = rank
    try:
        return str(local_device(choice)), torch.accelerator.current_device_index()
    finally:
        os.environ.pop("LOCAL_RANK", None)


@pytest.mark.parametrize("choice", ["auto", "pretend"])
def test_the_machines_accelerator_is_chosen(on_pretend, choice):
    assert on_pretend(chosen, choice) == ("pretend:0", 0)


def test_the_cpu_is_chosen_by_name_beside_an_accelerator(on_pretend):
    assert on_pretend(chosen, "cpu")[0] == "cpu"


def test_more_ranks_than_accelerators_are_an_error(on_pretend):
    with pytest.raises(DistributedError, match="local rank 1 needs pretend device 1, but this machine has 1"):
        on_pretend(chosen, "pretend", "1")


@without_accelerator
@pytest.mark.parametrize("name", ["cuda", "xpu", "mtia"])
def test_an_accelerator_that_the_machine_lacks_is_an_error(name):
    with pytest.raises(ConfigError, match=f"train.device is '{name}', but .* finds none; choose cpu or auto"):
        local_device(name)


def test_what_the_machine_has_is_named(on_pretend):
    with pytest.raises(ConfigError, match="finds pretend; choose pretend, cpu or auto"):
        on_pretend(chosen, "cuda")


@pytest.mark.parametrize("name", ["gpu", "meta", "Cuda", ""])
def test_a_name_that_torch_does_not_know_is_an_error(name):
    with pytest.raises(ConfigError, match=f"device is '{name}', which this torch does not know"):
        local_device(name)


def test_an_index_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match=r"device is 'cuda:1'; give the kind alone, cuda: a rank takes"):
        local_device("cuda:1")


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "xpu", "npu"])
def test_a_config_takes_any_name(name):
    """That of another machine's accelerator too."""
    assert TrainConfig(batch_size=1, steps=1, device=name).device == name


@pytest.mark.parametrize("name", ["cuda:0", "CUDA", "", "a b"])
def test_a_config_takes_nothing_that_is_no_name(name):
    with pytest.raises(ValueError, match=r"must be auto, cpu, or the name of a kind"):
        TrainConfig(batch_size=1, steps=1, device=name)


def narrow_types() -> list[bool]:
    device = torch.device("pretend", 0)
    return [has_bfloat16(device), has_float16(device)]


def test_what_torch_autocasts_to_there_counts_as_fast(on_pretend):
    assert on_pretend(narrow_types) == [True, True]
    assert not has_float16(torch.device("cpu"))


@pytest.mark.parametrize(("kind", "own"), [("cuda", "nccl"), ("xpu", "xccl")])
def test_each_kind_of_device_has_its_backend(kind, own):
    assert backends_for(torch.device("cpu")) == "gloo"
    if torch.distributed.is_backend_available(own):
        assert backends_for(torch.device(kind)) == f"cpu:gloo,{kind}:{own}"
    else:
        with pytest.raises(ConfigError, match=f"this torch has no {own}, which .* tensors of {kind}"):
            backends_for(torch.device(kind))
