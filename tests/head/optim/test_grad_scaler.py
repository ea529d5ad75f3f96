"""torch.amp.GradScaler with a row optimizer: the loop of torch's documentation, on every number of ranks.

The reference is that loop on one process with torch.optim.SGD on dense centres, in float64.
"""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import partialfc
from partialfc.distributed import World
from partialfc.distributed.accelerator import on_device
from partialfc.head.initial import normal_rows
from tests.head import reference
from tests.head.optim.cases import SCALE, SGD, C, D, build

INPUTS, STEPS, N = 6, 14, 12
OVERFLOWS, POISONED = (0, 1, 6), 9  # steps with an infinite gradient in the backbone alone, and with a NaN
LOOPS = ["one after the other", "unscaled and clipped", "together", "in micro-batches"]


class Loop:
    """One of LOOPS on a backbone and an optimizer of the centres; `scales` has the scale after each step.

    fused: whether the backbone's optimizer decides on the device whether it steps.
    """

    def __init__(
        self, kind: str, backbone: nn.Module, head_optimizer: torch.optim.Optimizer, *, fused: bool = False
    ) -> None:
        self.kind, self.backbone, self.head_optimizer = kind, backbone, head_optimizer
        self.device = next(backbone.parameters()).device
        self.optimizer = torch.optim.SGD(backbone.parameters(), lr=0.05, momentum=0.9, fused=fused)
        if fused and kind != "together":  # torch's would begin with any numbers, as its first step is skipped
            for p in backbone.parameters():
                self.optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
        self.together = partialfc.JointOptimizer(self.optimizer, head_optimizer)
        self.scaler = torch.amp.GradScaler(self.device.type, init_scale=2.0**20, growth_interval=3)
        self.scales: list[float] = []

    def backward(self, step: int, loss_of: Any, *, samples: slice, spoils: bool) -> None:
        """loss_of(embeddings, labels); spoils: whether an overflow happens on this rank."""
        images, labels = batch(step)
        parts = [slice(0, N // 2), slice(N // 2, N)] if self.kind == "in micro-batches" else [slice(0, N)]
        for part in parts:
            embeddings = self.backbone(on_device(images[part][samples], self.device))
            if spoils and step in OVERFLOWS:
                embeddings.register_hook(lambda gradient: gradient * math.inf)
            if spoils and step == POISONED:
                embeddings = embeddings * math.nan
            loss = loss_of(embeddings, labels[part][samples]) / len(parts)
            self.scaler.scale(loss).backward()

    def update(self) -> None:
        self.step()
        self.scales.append(self.scaler.get_scale())

    def step(self) -> None:
        if self.kind == "unscaled and clipped":
            self.scaler.unscale_(self.optimizer)
            self.scaler.unscale_(self.head_optimizer)
            nn.utils.clip_grad_norm_(self.backbone.parameters(), 0.5)
        if self.kind == "together":
            self.scaler.step(self.together)
        else:
            self.scaler.step(self.optimizer)
            self.scaler.step(self.head_optimizer)
        self.scaler.update()
        self.together.zero_grad()


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(N, INPUTS, dtype=torch.float64, generator=generator)
    return images, torch.randint(0, C // 3, (N,), generator=generator)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(INPUTS, D, dtype=torch.float64)


def on_ranks(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    world = World.of()
    backbone: nn.Module = network()
    if world.size > 1:
        backbone = DistributedDataParallel(backbone)
    head = build(1.0)
    optimizer = partialfc.RowSGD(head, **options)
    loop = Loop(kind, backbone, optimizer)
    for step in range(STEPS):
        last = world.rank == world.size - 1
        loop.backward(step, head, samples=slice(world.rank, None, world.size), spoils=last)
        loop.update()
    return {
        "scales": loop.scales,
        "backbone": [p.detach().clone() for p in backbone.parameters()],
        "rows": head.state_dict()["weight"].clone(),
        "momentum": optimizer.row_state["momentum"].clone(),
    }


def on_torch(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """The reference."""
    backbone, weight = network(), normal_rows(0, C, D, seed=0, dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.SGD([weight], **options)
    loop = Loop(kind, backbone, optimizer)
    margin = reference.combined(1, 0.3, 0)

    def loss_of(embeddings: Tensor, labels: Tensor) -> Tensor:
        return reference.dense_loss(embeddings, weight, labels, margin=margin, scale=SCALE)

    for step in range(STEPS):
        loop.backward(step, loss_of, samples=slice(None), spoils=True)
        loop.update()
    return {
        "scales": loop.scales,
        "backbone": [p.detach().clone() for p in backbone.parameters()],
        "rows": weight.detach(),
        "momentum": optimizer.state[weight]["momentum_buffer"],
    }


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("kind", LOOPS)
def test_the_usual_loop_moves_what_it_moves_with_dense_centres(run_ranks, world_size, kind):
    expected, results = on_torch(kind, SGD), run_ranks(on_ranks, world_size, kind, SGD)
    assert len(set(expected["scales"])) >= 3  # it fell, and it grew
    for result in results:
        assert result["scales"] == expected["scales"]
        for parameter, true in zip(result["backbone"], expected["backbone"], strict=True):
            torch.testing.assert_close(parameter, true, atol=1e-10, rtol=0)
    for name in ("rows", "momentum"):
        joined = torch.cat([result[name] for result in results])
        torch.testing.assert_close(joined, expected[name], atol=1e-10, rtol=0)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("make", [partialfc.RowSGD, partialfc.RowAdamW])
def test_a_step_that_is_skipped_leaves_no_trace(make, fused):
    """An infinity in the backbone alone: neither rows, nor momentum, nor counts of steps, move."""
    head = build(0.3)
    optimizer = make(head, lr=0.1)
    loop = Loop("together", network(), optimizer, fused=fused)
    for step in (3, 4):
        loop.backward(step, head, samples=slice(None), spoils=True)
        loop.update()
    before = copy.deepcopy([head.state_dict()["weight"], optimizer.state_dict(), loop.optimizer.state_dict()])
    scale = loop.scaler.get_scale()
    loop.backward(6, head, samples=slice(None), spoils=True)
    loop.update()
    assert loop.scaler.get_scale() == scale / 2
    after = [head.state_dict()["weight"], optimizer.state_dict(), loop.optimizer.state_dict()]
    for _, of_head, _ in (before, after):
        of_head["shared"].pop("steps")  # of those asked for, for the noise of the next
    torch.testing.assert_close(after, before, atol=0, rtol=0)
    assert not head.has_row_gradients()


@pytest.mark.parametrize("clipped", [False, True])
def test_a_sparse_gradient_is_that_of_torchs_loop(clipped):
    kind, options = "unscaled and clipped" if clipped else "one after the other", {"lr": 0.5}
    head = partialfc.PartialFC(
        D,
        C,
        margin=partialfc.ArcFace(scale=SCALE, margin=0.3),
        weight_dtype=torch.float64,
        compute_dtype=torch.float64,
        sparse_grad=True,
    )
    loop = Loop(kind, network(), torch.optim.SGD(head.parameters(), **options))
    weight = normal_rows(0, C, D, seed=0, dtype=torch.float64).requires_grad_()
    dense = Loop(kind, network(), torch.optim.SGD([weight], **options))

    def loss_of(embeddings: Tensor, labels: Tensor) -> Tensor:
        margin = reference.combined(1, 0.3, 0)
        return reference.dense_loss(embeddings, weight, labels, margin=margin, scale=SCALE)

    for step in range(STEPS):
        for each, loss in ((loop, head), (dense, loss_of)):
            each.backward(step, loss, samples=slice(None), spoils=True)
            each.update()
    assert loop.scales == dense.scales
    torch.testing.assert_close(head.weight.detach(), weight.detach(), atol=1e-10, rtol=0)


def test_a_scaler_alone_changes_no_bit_of_what_the_centres_become():
    """Scales are powers of two, and the gradient is unscaled before it is computed."""
    rows = []
    for scaled in (False, True):
        head = build(0.5, torch.float32)
        optimizer = partialfc.RowSGD(head, **SGD)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**90, enabled=scaled)
        for step in range(4):
            images, labels = batch(step)
            embeddings = images.float().repeat(1, 2)[:, :D].requires_grad_()
            scaler.scale(head(embeddings, labels)).backward()
            scaler.step(optimizer)
            scaler.update()
            assert torch.isfinite(embeddings.grad).all()
        rows.append(head.state_dict()["weight"].clone())
    assert torch.equal(*rows)


def test_what_clips_an_optimizers_parameters_finds_no_norm_of_its_own():
    head = build(1.0)
    optimizer = partialfc.RowSGD(head, lr=0.1)
    loop = Loop("together", network(), optimizer)
    loop.backward(3, head, samples=slice(None), spoils=False)
    loop.scaler.unscale_(loop.together)
    alone = nn.utils.get_total_norm([p.grad for p in loop.backbone.parameters()])
    groups = loop.together.param_groups
    everything = [p.grad for group in groups for p in group["params"] if p.grad is not None]
    assert nn.utils.get_total_norm(everything).item() == alone.item()


def train_in_float16(gathered: bool) -> dict[str, Any]:
    """On each rank: a few float16 steps, with the embeddings' dtype and the loss."""
    world = World.of()
    torch.manual_seed(0)
    backbone: nn.Module = nn.Sequential(nn.Linear(INPUTS, 32), nn.ReLU(), nn.Linear(32, D))
    if world.size > 1:
        backbone = DistributedDataParallel(backbone)
    gather = torch.float16 if gathered else None
    margin = partialfc.ArcFace(scale=SCALE, margin=0.1)
    head = partialfc.PartialFC(D, C, margin=margin, gather_dtype=gather)
    optimizer = partialfc.JointOptimizer(
        torch.optim.SGD(backbone.parameters(), lr=0.1, momentum=0.9), partialfc.RowSGD(head, lr=1.0)
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    losses, scales = [], []
    images, labels = batch(0)
    mine = slice(world.rank, None, world.size)
    for _ in range(40):
        with torch.autocast("cpu", dtype=torch.float16):
            embeddings = backbone(images.float()[mine])
            loss = head(embeddings, labels[mine])
        embeddings.retain_grad()
        scaler.scale(loss).backward()
        assert embeddings.dtype == embeddings.grad.dtype == torch.float16
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(loss.item())
        scales.append(scaler.get_scale())
    return {"losses": losses, "scales": scales, "rows": head.weight.detach()}


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("gathered", [False, True])
def test_a_backbone_in_float16_learns(run_ranks, world_size, gathered):
    results = run_ranks(train_in_float16, world_size, gathered)
    for result in results:
        assert result["losses"][-1] < 0.2 * result["losses"][0]
        assert result["scales"] == results[0]["scales"]
        assert result["scales"][0] == 2.0**23  # the first overflowed


def scaled_loop() -> tuple[torch.amp.GradScaler, list[torch.optim.Optimizer], partialfc.JointOptimizer]:
    """After a backward of a scaled loss: the scaler, the backbone's and the head's optimizer, both as one."""
    loop = Loop("together", network(), partialfc.RowSGD(build(1.0), lr=0.1))
    loop.backward(3, loop.head_optimizer.head, samples=slice(None), spoils=False)
    return loop.scaler, [loop.optimizer, loop.head_optimizer], loop.together


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("first", ["unscale_", "step"])
@pytest.mark.parametrize("then", ["unscale_", "step"])
def test_one_optimizer_unscaled_before_all_of_them_is_refused(first, then, which, nested):
    scaler, single, joint = scaled_loop()
    if nested:
        other = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
        joint = partialfc.JointOptimizer(joint, other)
    getattr(scaler, first)(single[which])
    gradient = [p.grad.clone() for p in single[0].param_groups[0]["params"]]
    with pytest.raises(RuntimeError, match=r"divided by the scale twice; call scaler\.unscale_\(joint\)"):
        getattr(scaler, then)(joint)
    assert torch.equal(gradient[0], single[0].param_groups[0]["params"][0].grad)


@pytest.mark.parametrize("which", [0, 1])
def test_one_optimizer_after_all_of_them_is_not_unscaled_again(which):
    scaler, single, joint = scaled_loop()
    scaler.unscale_(joint)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(single[which])
    scaler.step(joint)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.step(single[which])


def test_one_optimizer_that_steps_once_all_are_unscaled_moves_by_its_true_gradient():
    scaler, (backbone, _), joint = scaled_loop()
    (weight, _) = backbone.param_groups[0]["params"]
    before, gradient = weight.detach().clone(), weight.grad / scaler.get_scale()
    scaler.unscale_(joint)
    scaler.step(backbone)
    torch.testing.assert_close(weight.detach(), before - 0.05 * gradient, atol=1e-12, rtol=0)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.step(joint)
    scaler.update()
    joint.zero_grad()
    weight.grad = torch.zeros_like(weight)
    scaler.step(joint)  # the next step is as ever
