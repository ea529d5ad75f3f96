"""Every collective over NCCL, with one rank: as much as one GPU can show.

A rank alone exchanges nothing, so here it is told that it has company. On the CPU the same goes over gloo.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

import partialfc
from partialfc.data.images.codec import encode_jpeg
from partialfc.distributed import World
from partialfc.metrics.run_log import read_metrics
from partialfc.training.sync_batchnorm import SyncBatchNorm
from tests import train_cases
from tests.devices import DEVICE, on_real_devices_alone, the_device
from tests.head.test_accelerator import OPTIMIZERS, batch, build
from tests.processes import call

pytestmark = [pytest.mark.gpu, on_real_devices_alone]

GROUPS = {"cpu": ["gloo"], "cuda": ["nccl", "cpu:gloo,cuda:nccl"]}
BACKENDS = GROUPS.get(DEVICE, ["none"])


class One(int):
    """The number 1, which nobody takes for it: a world of this size exchanges with itself."""

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True


@pytest.fixture(params=BACKENDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    store = dist.FileStore(str(tmp_path / "store"), 1)
    timeout = timedelta(seconds=60)
    if DEVICE == "cuda":
        torch.cuda.set_device(the_device())
    dist.init_process_group(request.param, store=store, rank=0, world_size=1, timeout=timeout)
    try:
        yield World(dist.group.WORLD, 0, One(1))
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64], ids=str)
def test_every_collective_gives_one_rank_its_own(world, dtype):
    rows = torch.arange(24).view(6, 4).to(the_device(), dtype)
    assert world.backend(rows.device) == ("nccl" if DEVICE == "cuda" else "gloo")
    for collective in (world.all_gather_rows, world.reduce_scatter_rows):
        assert torch.equal(collective(rows, [6]), rows)
    assert torch.equal(world.all_reduce_sum(rows), rows)
    assert torch.equal(world.exchange_rows(rows, [6]), rows[None])
    assert sum(world.traffic.calls.values()) == 4  # none of them was left out


def test_integers_texts_and_buffers(world):
    assert world.gather_integers([3, 1, 2]).tolist() == [[3, 1, 2]]
    assert world.gather_texts("größer") == ["größer"]
    module = nn.BatchNorm1d(3).to(the_device())
    world.broadcast_buffers(module)
    world.barrier()
    assert module.running_var.tolist() == [1.0] * 3


@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("gather_dtype", [None, torch.bfloat16], ids=str)
def test_a_head_whose_collectives_all_run_has_the_numbers_of_one_without(
    world, optimizer, sample_rate, gather_dtype
):
    def steps(company: World | None) -> dict[str, Any]:
        head = build(DEVICE, "arcface", {"sample_rate": sample_rate, "gather_dtype": gather_dtype})
        if company is not None:
            head.world = company
        moving = getattr(partialfc, optimizer)(head, **OPTIMIZERS[optimizer])
        found = []
        for number in range(3):
            embeddings, labels = batch(number, valid=False)
            x = embeddings.to(torch.bfloat16).to(torch.float64).to(DEVICE).requires_grad_()
            loss = head(x, labels)
            loss.backward()
            moving.step()
            found.append(loss.detach())
        moving.flush()
        return {"losses": torch.stack(found).cpu(), "weight": head.weight.detach().cpu()}

    together, alone = steps(world), steps(None)
    tolerance = 1e-10 if gather_dtype is None else 1e-2
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, atol=tolerance, rtol=tolerance, msg=name)
    assert world.traffic.calls["all_gather"] > 0


def test_batchnorm_over_all_ranks_is_torchs_over_one(world):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 4, 3, 2, generator=generator, dtype=torch.float64).to(the_device())
    results = []
    for synchronised in (False, True):
        layer: nn.Module = nn.BatchNorm2d(4, dtype=torch.float64).to(the_device())
        layer = SyncBatchNorm(layer, world) if synchronised else layer
        own = x.clone().requires_grad_()
        out = layer(own)
        out.square().sum().backward()
        results.append((out.detach(), own.grad, layer.running_mean, layer.running_var))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("overrides", [(), ("train.amp=bfloat16", "train.accumulation=2")], ids=str)
def test_a_run_under_torchrun_has_the_losses_of_one_alone(tmp_path, overrides):
    """With DistributedDataParallel, over NCCL on a GPU."""
    train_cases.write_data(tmp_path, encode=encode_jpeg)
    config = train_cases.saved_config(tmp_path, f"train.device={DEVICE}", *overrides)
    curves = []
    for name, ranks in (("alone", 0), ("torchrun", 1)):
        done = call("train", config, f"run.dir={tmp_path / name}", ranks=ranks)
        assert done.returncode == 0, done.stderr
        records = read_metrics(tmp_path / name)
        curves.append([record["loss"] for record in records if record["event"] == "train"])
    assert curves[1] == pytest.approx(curves[0], rel=0.02)
