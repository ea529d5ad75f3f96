"""Every backbone on a GPU: channels-last or not, in float32 and under autocast, compiled or not."""

import functools
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from partialfc.backbones import BACKBONES
from tests.backbones.cases import images, small
from tests.devices import CPU, DEVICE, the_device

pytestmark = pytest.mark.gpu

FORMATS = {"rows": torch.contiguous_format, "channels last": torch.channels_last}
TYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Of the largest number: convolutions in float32 may round their operands to TF32's ten bits.
TOLERANCES = {"float32": 0.02, "bfloat16": 0.15, "float16": 0.05}


def passed(
    backbone: nn.Module,
    device: torch.device,
    *,
    amp: torch.dtype | None = None,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> tuple[Tensor, Tensor]:
    """Embeddings [B, D] of eight images in training mode, and the gradient of the first weights."""
    backbone = backbone.to(device, memory_format=memory_format).train()
    x = images(8).to(device).contiguous(memory_format=memory_format)
    with torch.autocast(device.type, dtype=amp) if amp else nullcontext():
        embeddings = backbone(x)
    towards = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(2)).to(device)
    (embeddings.float() * towards).mean().backward()
    first = next(backbone.parameters())
    assert first.grad is not None
    return embeddings.detach().float().cpu(), first.grad.float().cpu()


@functools.cache
def on_the_cpu(name: str) -> tuple[Tensor, Tensor]:
    return passed(small(name), CPU)


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """On the whole: normalised by a batch of eight, a single number may move further."""
    assert found.isfinite().all()
    assert (found - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("amp", TYPES)
@pytest.mark.parametrize("name", BACKBONES)
def test_a_pass_forward_and_back_is_the_cpus(name, amp, memory_format):
    if DEVICE != "cuda" and name != "convnet":
        pytest.skip("one tests the test")
    expected, slope = on_the_cpu(name)
    how = {"amp": TYPES[amp], "memory_format": FORMATS[memory_format]}
    found, its_slope = passed(small(name), the_device(), **how)
    assert_near(found, expected, TOLERANCES[amp])
    assert its_slope.isfinite().all()
    assert nn.functional.cosine_similarity(its_slope.flatten(), slope.flatten(), dim=0) > 0.9
