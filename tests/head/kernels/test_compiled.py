"""The head beside torch.compile: on a machine without a compiler, and inside what a caller compiles."""

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import partialfc
from partialfc.distributed import World

WITHOUT_A_COMPILER = """
import warnings, torch, partialfc
from partialfc.head.kernels.compiled import trouble
losses = {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for compiled in (True, False):
        head = partialfc.PartialFC(16, 50, margin=partialfc.ArcFace(), compile=compiled)
        optimizer = partialfc.RowSGD(head, lr=0.1)
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            x = torch.randn(8, 16, generator=generator).requires_grad_()
            loss = head(x, torch.arange(8))
            loss.backward()
            optimizer.step()
        losses[compiled] = loss.item()
assert losses[True] == losses[False], losses
ours = [w for w in caught if "the head runs uncompiled" in str(w.message)]
assert len(ours) == 1, ours
assert trouble()
print(ours[0].message)
"""


@pytest.mark.slow
def test_without_a_compiler_the_head_warns_once_and_runs_uncompiled(tmp_path):
    environment = {**os.environ, "CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", WITHOUT_A_COMPILER]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "compile=False silences this" in result.stdout


@pytest.mark.parametrize(
    ("classes", "dtypes", "compiled"),
    [
        (8191, {}, False),
        (8192, {}, True),
        (4095, {"weight_dtype": torch.bfloat16}, False),
        (4096, {"weight_dtype": torch.bfloat16}, True),
        (4096, {"compute_dtype": torch.bfloat16}, True),
    ],
)
def test_a_large_head_is_compiled_and_says_so_where_it_may_not_be(caplog, classes, dtypes, compiled):
    head = partialfc.PartialFC(512, classes, margin=partialfc.ArcFace(), **dtypes)
    assert head.compiled == compiled
    assert not caplog.messages
    partialfc.PartialFC(512, classes, margin=partialfc.ArcFace(), compile=False, **dtypes)
    assert ["compile=False: this head is large" in message for message in caplog.messages] == [
        True
    ] * compiled


class Net(nn.Module):
    """A backbone, inside DistributedDataParallel where there are several ranks, and a head on it."""

    def __init__(self, *, compile: bool, sparse_grad: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 8))
        self.head = partialfc.PartialFC(
            *(8, 60),
            margin=partialfc.ArcFace(scale=16.0),
            sample_rate=0.5,
            compile=compile,
            sparse_grad=sparse_grad,
        )
        several = self.head.world.size > 1
        self.backbone: nn.Module = DistributedDataParallel(backbone) if several else backbone

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.head(self.backbone(images), labels)


def train(way: str, *, compile: bool = False, sparse_grad: bool = False) -> tuple[list[float], Tensor]:
    """The losses of four steps and an evaluation, and the rows, with `way` compiled by the caller."""
    compiled = torch.compile(backend="eager")
    net = Net(compile=compile, sparse_grad=sparse_grad)
    if way == "the head":
        net.head = compiled(net.head)
    make = torch.optim.Adagrad if sparse_grad else partialfc.RowSGD
    moved = net.head.parameters() if sparse_grad else net.head
    optimizers = [torch.optim.SGD(net.backbone.parameters(), lr=0.1), make(moved, lr=0.1)]

    def step(images: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = call(images, labels) * 1.0
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()

    call: nn.Module = net
    if way == "the module":
        call = torch.compile(net, backend="eager")
    elif way == "the module in place":
        net.compile(backend="eager")
    elif way == "the step":
        step = compiled(step)
    elif way == "the optimizers":
        for optimizer in optimizers:
            optimizer.step = compiled(optimizer.step)  # type: ignore[method-assign]
    world, losses = World.of(), []
    for number in range(4):
        generator = torch.Generator().manual_seed(number + 10 * world.rank)
        images, labels = torch.randn(6, 12, generator=generator), torch.arange(6) * (number + 1)
        losses.append(step(images, labels).item())
    with torch.no_grad():
        losses.append(call.eval()(images, labels).item())
    return losses, net.head.current_rows()


def check_way(way: str, options: dict[str, bool]) -> None:
    torch.compiler.reset()
    compiled, plain = train(way, **options), train("nothing", **options)
    # Compiled, the SGD of torch 2.11 rounds a last bit otherwise, which grows in the steps after it.
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize(
    ("world_size", "way", "options"),
    [
        (1, "the module", {}),
        (1, "the module in place", {}),
        (1, "the head", {}),
        (1, "the optimizers", {}),
        (2, "the module", {}),
        (2, "the step", {}),
        (1, "the step", {"sparse_grad": True}),
        pytest.param(1, "the step", {"compile": True}, marks=pytest.mark.slow),
    ],
)
def test_a_caller_that_is_compiled_trains_as_one_that_is_not(run_ranks, world_size, way, options):
    run_ranks(check_way, world_size, way, options)
