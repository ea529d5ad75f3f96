"""Backbones in channels-last order and under autocast, where GPUs are fastest: the same function still."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from partialfc.distributed.accelerator import on_device
from tests.backbones.cases import ALL, images, small
from tests.pretend.machine import machine

# The least cosine between the gradient by all parameters and that in float64. Rounding differences grow from
# layer to layer, and mobilefacenet and vargfacenet have the most of them, and the narrowest.
LEAST_COSINE = {torch.float64: 1 - 1e-12, torch.float32: 1 - 1e-6, torch.bfloat16: 0.85, torch.float16: 0.98}


def passes(
    backbone: nn.Module, batch: Tensor, amp: torch.dtype | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The embeddings in training mode, and the gradients of a weighted sum of them."""
    with torch.autocast(batch.device.type, amp, enabled=amp is not None):
        embeddings = backbone.train()(batch)
    weights = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(2))
    (embeddings * on_device(weights, embeddings.device)).sum().backward()
    named = backbone.named_parameters()
    return embeddings.detach(), {name: each.grad for name, each in named if each.grad is not None}


def in_format(memory_format: torch.memory_format, name: str, **sizes: int) -> tuple[nn.Module, Tensor]:
    """A small backbone and images for it, both in that memory format."""
    backbone = small(name, **sizes).to(memory_format=memory_format)
    batch = images(8, **sizes).to(torch.float64)  # so that the next line copies
    return backbone, batch.to(torch.float32, memory_format=memory_format)


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([each.double().flatten() for each in gradients.values()])


@pytest.mark.parametrize("dtype", LEAST_COSINE, ids=str)
@pytest.mark.parametrize("name", ALL)
def test_gradients_in_channels_last_are_near_those_in_float64(name: str, dtype: torch.dtype) -> None:
    backbone, batch = in_format(torch.contiguous_format, name)
    expected, true = passes(backbone.double(), batch.double())
    backbone, batch = in_format(torch.channels_last, name)
    if dtype == torch.float64:
        backbone, batch = backbone.double(), batch.double()
    amp = dtype if dtype in (torch.bfloat16, torch.float16) else None
    embeddings, gradients = passes(backbone, batch, amp)
    assert gradients.keys() == true.keys()
    cosine = torch.cosine_similarity(flat(gradients), flat(true), dim=0)
    assert cosine >= LEAST_COSINE[dtype]
    off = (embeddings.double() - expected).norm() / expected.norm()
    assert off <= {torch.float64: 1e-12, torch.float32: 1e-4}.get(dtype, 0.15)


class Layouts(TorchDispatchMode):
    """Notes the operations whose results, feature maps, are not in channels-last order."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else [result]:
            maps = isinstance(each, Tensor) and each.dim() == 4
            if maps and not each.is_contiguous(memory_format=torch.channels_last):
                self.others.append(func.overloadpacket.__name__)
        return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("amp", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", [name for name in ALL if name != "vit_tiny"])  # which has tokens
def test_feature_maps_stay_channels_last_from_layer_to_layer(
    name: str, amp: torch.dtype | None, channels: int
) -> None:
    """All but the last, which is flattened in the order of InsightFace's weights: one copy in each pass."""
    backbone, batch = in_format(torch.channels_last, name, channels=channels)
    with Layouts() as layouts:
        _, gradients = passes(backbone, batch, amp)
    if name == "mobilefacenet":  # which convolves the last one to one position, that has any order
        assert layouts.others == []
    elif name == "vargfacenet":  # so does it; but squeeze-and-excite's means send one number to a map
        assert {*layouts.others} == {"expand", "div"}
    else:
        assert layouts.others == ["clone", "view"]
    for parameter_name, parameter in backbone.named_parameters():
        if parameter_name in gradients:  # an optimizer's state then has the same order too
            assert gradients[parameter_name].stride() == parameter.stride(), parameter_name


def on_the_device(name: str, amp: torch.dtype) -> tuple[list[str], bool]:
    """A training and an evaluation pass there: what waited or blocked, and whether all was finite."""
    backbone, batch = in_format(torch.channels_last, name, image_size=16)
    backbone, batch = backbone.to(machine.device), batch.to(machine.device)
    machine.log.clear()
    embeddings, gradients = passes(backbone, batch, amp)
    with torch.no_grad(), torch.autocast(machine.device.type, amp):
        evaluated = backbone.eval()(batch)
    faults = [str(fault) for fault in machine.log.faults]
    values = [embeddings, evaluated, *gradients.values()]
    return faults, all(bool(each.cpu().isfinite().all()) for each in values)


@pytest.mark.parametrize("amp", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ALL)
def test_a_pass_under_autocast_never_waits_for_the_device(
    on_pretend: Any, name: str, amp: torch.dtype
) -> None:
    assert on_pretend(on_the_device, name, amp) == ([], True)
