"""The planned memory of a head on a GPU, against the peak that torch's allocator counts."""

import gc
from dataclasses import replace

import pytest
import torch

from partialfc.plan import Setting, memory_of
from tests.devices import on_accelerators_alone, the_device
from tests.plan import plan_run

pytestmark = [pytest.mark.gpu, on_accelerators_alone]

SETTING = Setting(classes=200_000, embedding=128, gpus=1, batch=128, sample_rate=0.2, compile=False)
CHANGES = [
    {},
    {"weight_dtype": "bfloat16", "momentum_dtype": "int8", "compute_dtype": "bfloat16"},
    {"optimizer": "adamw"},
    {"unsampled": "frozen", "sample_rate": 1.0},
    {"accumulation": 3},
    {"compile": True, "compute_dtype": "bfloat16"},
]


def peak_of(setting: Setting) -> int:
    """The most that was allocated at once in two steps, less what there was before the head."""
    torch.zeros(1, device=the_device())  # the allocator begins with the first tensor
    torch.accelerator.synchronize()
    before = torch.accelerator.memory_allocated()
    torch.accelerator.reset_peak_memory_stats()
    head, optimizer = plan_run.build(setting, the_device())
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        for _ in range(setting.accumulation):
            embeddings = torch.randn(setting.batch, setting.embedding, generator=generator)
            labels = torch.randint(setting.classes, (setting.batch,), generator=generator)
            head(embeddings.to(the_device()).requires_grad_(), labels).backward()
        optimizer.step()
    return torch.accelerator.max_memory_allocated() - before


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_memory_is_the_allocators_peak(changes):
    setting = replace(SETTING, **changes)
    peak_of(replace(setting, classes=20_000))  # libraries take buffers of their own, once
    gc.collect()
    peak = peak_of(setting)
    planned = memory_of(setting).total
    assert 0.8 * planned <= peak <= 1.1 * planned
