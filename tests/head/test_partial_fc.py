"""The head against the plain float64 reference: same loss, same gradients, at every world size."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import partialfc
from partialfc.distributed import World
from partialfc.head.initial import normal_rows
from tests.head import reference

D = 16
TOLERANCE = 1e-10

MARGINS = {
    "softmax": (partialfc.NormalizedSoftmax, {"scale": 30.0}, reference.combined(1, 0, 0)),
    "arcface": (partialfc.ArcFace, {"scale": 64.0, "margin": 0.5}, reference.combined(1, 0.5, 0)),
    "arcface_easy": (
        partialfc.ArcFace,
        {"scale": 64.0, "margin": 0.5, "beyond_pi": "easy"},
        reference.combined(1, 0.5, 0, "easy"),
    ),
    "cosface": (partialfc.CosFace, {"scale": 64.0, "margin": 0.35}, reference.combined(1, 0, 0.35)),
    "combined": (
        partialfc.CombinedMargin,
        {"m1": 1.2, "m2": 0.3, "m3": 0.2, "scale": 32.0},
        reference.combined(1.2, 0.3, 0.2),
    ),
}


@dataclass
class Case:
    """One global batch: each rank's share of it, and the labels (drawn from the seed unless given)."""

    sizes: list[int]
    num_classes: int = 50
    margin: str = "arcface"
    sample_rate: float = 1.0
    seed: int = 0
    labels: list[int] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def batch(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        n = sum(self.sizes)
        embeddings = torch.randn(n, D, dtype=torch.float64, generator=generator)
        labels = torch.randint(0, self.num_classes, (n,), generator=generator)
        return embeddings, labels if self.labels is None else torch.tensor(self.labels)

    def weight(self) -> Tensor:
        return normal_rows(0, self.num_classes, D, seed=self.seed, dtype=torch.float64)


def build(case: Case, **options: Any) -> partialfc.PartialFC:
    make, arguments, _ = MARGINS[case.margin]
    return partialfc.PartialFC(
        D,
        case.num_classes,
        margin=make(**arguments),
        sample_rate=case.sample_rate,
        weight_dtype=torch.float64,
        compute_dtype=torch.float64,
        seed=case.seed,
        **options,
    )


def run_case(case: Case) -> dict[str, Any]:
    """On each rank: loss, embedding gradient, sample, and the rows after plain gradient descent."""
    world = World.of()
    embeddings, labels = case.batch()
    begin = sum(case.sizes[: world.rank])
    mine = slice(begin, begin + case.sizes[world.rank])
    head = build(case, **case.extra)
    optimizer = partialfc.RowSGD(head, lr=1.0, unsampled="frozen")
    x, y = embeddings[mine].clone().requires_grad_(), labels[mine].clone()
    kept = x.detach().clone(), y.clone()
    loss = head(x, y)
    loss.backward()
    optimizer.step()
    assert torch.equal(x.detach(), kept[0])
    assert torch.equal(y, kept[1])
    return {
        "loss": loss.item(),
        "gradient": x.grad / world.size,  # what DDP's averaging makes of it
        "participating": head.last_sample + head.shard.start,
        "weight": head.weight.detach(),
    }


def check(case: Case, results: list[dict[str, Any]]) -> None:
    """The ranks' results against the dense reference on one process."""
    _, arguments, margin = MARGINS[case.margin]
    embeddings, labels = case.batch()
    embeddings.requires_grad_()
    weight = case.weight().requires_grad_()
    participating = torch.cat([result["participating"] for result in results])
    assert len(participating.unique()) == len(participating)
    loss = reference.dense_loss(
        embeddings, weight, labels, margin=margin, scale=arguments["scale"], participating=participating
    )
    loss.backward()
    for result in results:
        assert result["loss"] == pytest.approx(loss.item(), abs=TOLERANCE, rel=TOLERANCE)
    gradient = torch.cat([result["gradient"] for result in results])
    torch.testing.assert_close(gradient, embeddings.grad, atol=TOLERANCE, rtol=0)
    moved = torch.cat([result["weight"] for result in results])
    expected = weight.detach() - weight.grad
    torch.testing.assert_close(
        moved, expected, atol=TOLERANCE * weight.grad.abs().max().item() + 1e-10, rtol=0
    )


WORLDS = [1, 2, 3, 4]


def even(world_size: int, total: int = 12) -> list[int]:
    return [total // world_size + (rank < total % world_size) for rank in range(world_size)]


@pytest.mark.parametrize("world_size", WORLDS)
@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("sample_rate", [1.0, 0.3, 0.05])
def test_loss_and_gradients_match_the_dense_reference(run_ranks, world_size, margin, sample_rate):
    case = Case(even(world_size), num_classes=50, margin=margin, sample_rate=sample_rate)
    check(case, run_ranks(run_case, world_size, case))


CORNERS = {
    "uneven batches": (3, Case([7, 1, 4])),
    "a rank without samples": (3, Case([5, 0, 6])),
    "fewer classes than ranks": (4, Case([3, 3, 3, 3], num_classes=3)),
    "one class": (2, Case([2, 2], num_classes=1, labels=[0, 0, 0, 0])),
    "two classes, empty shards": (4, Case([2, 2, 2, 2], num_classes=2)),
    "ignored samples": (2, Case([4, 3], labels=[5, -1, 49, -1, -1, 0, 30])),
    "one rank ignores all": (2, Case([3, 3], labels=[-1, -1, -1, 4, 5, 6])),
    "duplicates": (2, Case([4, 4], labels=[7, 7, 7, 40, 7, 40, 40, 7])),
    "a batch of one": (1, Case([1])),
    "a global batch of one": (3, Case([0, 1, 0], labels=[31])),
    "shards without a positive": (3, Case([4, 4, 4], labels=[0, 1, 2] * 4, sample_rate=0.3)),
    "more positives than sampled": (
        2,
        Case([16, 16], num_classes=60, sample_rate=0.05, labels=list(range(32))),
    ),
    "a large class count": (2, Case([8, 8], num_classes=20_001, sample_rate=0.1)),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_corner_cases_match_the_dense_reference(run_ranks, corner):
    world_size, case = CORNERS[corner]
    check(case, run_ranks(run_case, world_size, case))


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
def test_a_batch_without_valid_samples_is_zero(run_ranks, world_size, sample_rate):
    case = Case([2] * world_size, labels=[-1] * 2 * world_size, sample_rate=sample_rate)
    for result in run_ranks(run_case, world_size, case):
        assert result["loss"] == 0.0
        assert torch.count_nonzero(result["gradient"]) == 0
        assert torch.isfinite(result["weight"]).all()


def run_accumulation(cases: list[Case], lr: float) -> dict[str, Any]:
    """Several micro-batches, one step."""
    world = World.of()
    head = build(cases[0])
    optimizer = partialfc.RowSGD(head, lr=lr, unsampled="frozen")
    losses, participating = [], []
    for case in cases:
        embeddings, labels = case.batch()
        begin = sum(case.sizes[: world.rank])
        mine = slice(begin, begin + case.sizes[world.rank])
        loss = head(embeddings[mine].requires_grad_(), labels[mine]) / len(cases)
        loss.backward()
        losses.append(loss.item())
        participating.append(head.last_sample + head.shard.start)
    optimizer.step()
    return {"losses": losses, "participating": participating, "weight": head.weight.detach()}


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("sample_rate", [1.0, 0.2])
def test_accumulated_batches_match_the_sum_of_their_gradients(run_ranks, world_size, sample_rate):
    cases = [Case(even(world_size, 9 + i), num_classes=40, seed=i, sample_rate=sample_rate) for i in range(3)]
    results = run_ranks(run_accumulation, world_size, cases, 1.0)
    _, arguments, margin = MARGINS["arcface"]
    weight = cases[0].weight().requires_grad_()
    for i, case in enumerate(cases):
        embeddings, labels = case.batch()
        participating = torch.cat([result["participating"][i] for result in results])
        loss = reference.dense_loss(
            embeddings, weight, labels, margin=margin, scale=arguments["scale"], participating=participating
        )
        (loss / len(cases)).backward()
        assert results[0]["losses"][i] == pytest.approx(loss.item() / len(cases), abs=TOLERANCE)
    moved = torch.cat([result["weight"] for result in results])
    # Each case has its own seed for the batch, but the head's seed is the first one's.
    torch.testing.assert_close(moved, weight.detach() - weight.grad, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_embedding_dtypes_are_kept(dtype):
    head = partialfc.PartialFC(D, 100, margin=partialfc.CosFace())
    partialfc.RowSGD(head, lr=0.1)
    embeddings, labels = Case([8], num_classes=100).batch()
    x = embeddings.to(dtype).requires_grad_()
    loss = head(x, labels)
    loss.backward()
    assert loss.dtype == torch.float32
    assert x.grad.dtype == dtype
    plain = x.detach().double().requires_grad_()
    expected = reference.dense_loss(
        plain,
        normal_rows(0, 100, D, seed=0, dtype=torch.float32).double(),
        labels,
        margin=reference.combined(1, 0, 0.35),
        scale=64.0,
    )
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    error = (x.grad.double() - plain.grad).abs().max() / plain.grad.abs().max()
    assert error < (1e-2 if dtype == torch.bfloat16 else 1e-5)


def run_gathered(case: Case, gather_dtype: torch.dtype | None) -> dict[str, Any]:
    world = World.of()
    embeddings, labels = case.batch()
    mine = slice(sum(case.sizes[: world.rank]), sum(case.sizes[: world.rank + 1]))
    head = build(case, gather_dtype=gather_dtype)
    partialfc.RowSGD(head, lr=1.0)
    x = embeddings[mine].clone().requires_grad_()
    loss = head(x, labels[mine])
    loss.backward()
    return {"loss": loss.item(), "gradient": x.grad / world.size, "bytes": world_bytes(head)}


def world_bytes(head: partialfc.PartialFC) -> int:
    return head.world.traffic.bytes.get("all_gather", 0)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_embeddings_gathered_in_bfloat16_are_those_rounded_to_it(run_ranks, world_size):
    case = Case(even(world_size))
    results = run_ranks(run_gathered, world_size, case, torch.bfloat16)
    embeddings, labels = case.batch()
    rounded = embeddings.bfloat16().double().requires_grad_()
    weight = case.weight()
    margin = reference.combined(1, 0.5, 0)
    expected = reference.dense_loss(rounded, weight, labels, margin=margin, scale=64.0)
    expected.backward()
    for result in results:
        assert result["loss"] == pytest.approx(expected.item(), abs=TOLERANCE)
    gradient = torch.cat([result["gradient"] for result in results])
    torch.testing.assert_close(gradient, rounded.grad, atol=TOLERANCE, rtol=0)
    if world_size > 1:
        full = run_ranks(run_gathered, world_size, case, None)
        # A quarter of float64's bytes for the embeddings; labels and counts stay as they are.
        assert full[0]["bytes"] - results[0]["bytes"] == 12 * D * (8 - 2)


def test_bfloat16_gemms_stay_close():
    embeddings, labels = Case([64], num_classes=2000, seed=3).batch()
    losses = {}
    for dtype in (torch.float32, torch.bfloat16):
        head = partialfc.PartialFC(D, 2000, margin=partialfc.ArcFace(), compute_dtype=dtype)
        losses[dtype] = head(embeddings.float(), labels).item()
    assert losses[torch.bfloat16] == pytest.approx(losses[torch.float32], rel=1e-2)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_cosine_of_exactly_one_is_finite_and_right(margin, sign):
    """Unit embeddings equal to (or opposite) their centre; the value is the margin's, nothing is NaN."""
    case = Case([3], num_classes=3, margin=margin, labels=[0, 1, 2])
    head = build(case, **case.extra)
    with torch.no_grad():
        head.weight.copy_(torch.eye(3, D, dtype=torch.float64))
    optimizer = partialfc.RowSGD(head, lr=0.1)
    x = (sign * torch.eye(3, D, dtype=torch.float64)).requires_grad_()
    loss = head(x, torch.tensor([0, 1, 2]))
    loss.backward()
    optimizer.step()
    assert torch.equal(head.last_target_cos, torch.full((3,), sign, dtype=torch.float64))
    _, arguments, function = MARGINS[margin]
    target = arguments["scale"] * function(torch.tensor([sign], dtype=torch.float64))
    logits = torch.cat([target, torch.zeros(2, dtype=torch.float64)])
    expected = F.cross_entropy(logits[None], torch.tensor([0]))
    assert loss.item() == pytest.approx(expected.item(), abs=TOLERANCE)
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(head.weight).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_keep_their_loss(dtype):
    """Every target opposite its centre, and every negative far below the bound: nothing underflows to 0."""
    head = partialfc.PartialFC(
        2, 2, margin=partialfc.NormalizedSoftmax(scale=64.0), weight_dtype=dtype, compute_dtype=dtype
    )
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [-0.9, (1 - 0.81) ** 0.5]]))
    for embedding, label in [([1.0, 0.0], 0), ([1.0, 0.0], 1), ([-1.0, 0.0], 0), ([0.0, -1.0], 1)]:
        x = torch.tensor([embedding], dtype=dtype)
        cos = F.normalize(x.double()) @ F.normalize(head.weight.detach().double()).T
        expected = F.cross_entropy(64.0 * cos, torch.tensor([label])).item()
        assert head(x, torch.tensor([label])).item() == pytest.approx(expected, rel=1e-5)


def run_eval(case: Case) -> float:
    head = build(case).eval()
    world = World.of()
    embeddings, labels = case.batch()
    begin = sum(case.sizes[: world.rank])
    mine = slice(begin, begin + case.sizes[world.rank])
    with torch.no_grad():
        loss = head(embeddings[mine], labels[mine])
    assert head.step == 0
    return loss.item()


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_eval_mode_uses_every_class(run_ranks, world_size):
    case = Case(even(world_size), sample_rate=0.1)
    _, arguments, margin = MARGINS[case.margin]
    embeddings, labels = case.batch()
    expected = reference.dense_loss(
        embeddings, case.weight(), labels, margin=margin, scale=arguments["scale"]
    )
    for loss in run_ranks(run_eval, world_size, case):
        assert loss == pytest.approx(expected.item(), abs=TOLERANCE)


def run_sparse(case: Case) -> dict[str, Any]:
    world = World.of()
    head = build(case, sparse_grad=True)
    embeddings, labels = case.batch()
    begin = sum(case.sizes[: world.rank])
    mine = slice(begin, begin + case.sizes[world.rank])
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    x = embeddings[mine].requires_grad_()
    loss = head(x, labels[mine])
    loss.backward()
    gradient = head.weight.grad
    assert gradient.is_sparse
    assert torch.equal(gradient.coalesce().indices()[0], head.last_sample)
    optimizer.step()
    return {
        "loss": loss.item(),
        "gradient": x.grad / world.size,
        "participating": head.last_sample + head.shard.start,
        "weight": head.weight.detach(),
    }


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("sample_rate", [1.0, 0.2])
def test_sparse_gradients_serve_any_optimizer(run_ranks, world_size, sample_rate):
    case = Case(even(world_size), num_classes=45, sample_rate=sample_rate)
    check(case, run_ranks(run_sparse, world_size, case))


def test_autocast_outside_does_not_reach_the_head():
    embeddings, labels = Case([8]).batch()
    head = build(Case([8]))
    plain = head(embeddings, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert head(embeddings, labels).item() == plain.item()


def test_gradient_of_a_scaled_loss_scales_both_sides():
    case = Case([8])
    embeddings, labels = case.batch()
    moved, gradients = [], []
    for factor in (1.0, 4.0):
        head = build(case, **case.extra)
        optimizer = partialfc.RowSGD(head, lr=1.0)
        x = embeddings.clone().requires_grad_()
        (head(x, labels) * factor).backward()
        optimizer.step()
        moved.append((head.weight.detach() - case.weight()) / factor)
        gradients.append(x.grad / factor)
    torch.testing.assert_close(moved[0], moved[1], atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-12, rtol=1e-12)


def test_frozen_centres_and_frozen_embeddings():
    case = Case([8])
    embeddings, labels = case.batch()
    head = build(case, **case.extra)
    optimizer = partialfc.RowSGD(head, lr=1.0)
    head(embeddings, labels).backward()  # a frozen backbone: only the centres learn
    optimizer.step()
    assert not torch.equal(head.weight.detach(), case.weight())
    head = build(case, **case.extra)
    head.weight.requires_grad_(False)
    x = embeddings.clone().requires_grad_()
    head(x, labels).backward()  # frozen centres need no optimizer
    assert x.grad is not None


def run_ten_steps(case: Case) -> list[float]:
    world = World.of()
    head = build(case, **case.extra)
    optimizer = partialfc.RowSGD(head, lr=0.1, momentum=0.9, weight_decay=5e-4)
    losses = []
    for step in range(10):
        embeddings, labels = Case(case.sizes, num_classes=case.num_classes, seed=step).batch()
        begin = sum(case.sizes[: world.rank])
        mine = slice(begin, begin + case.sizes[world.rank])
        loss = head(embeddings[mine].requires_grad_(), labels[mine])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_runs_repeat_bit_for_bit(run_ranks):
    case = Case([6, 6], num_classes=300, sample_rate=0.2)
    first, second = run_ranks(run_ten_steps, 2, case), run_ranks(run_ten_steps, 2, case)
    assert first == second
    assert first[0] == first[1]


def test_the_world_size_changes_only_rounding(run_ranks):
    """At r = 1 a run from scratch is the same at any world size, initial centres included."""
    losses = {w: run_ranks(run_ten_steps, w, Case(even(w), num_classes=301))[0] for w in WORLDS}
    for world_size in WORLDS[1:]:
        assert losses[world_size] == pytest.approx(losses[1], abs=1e-10)


class Reweighting(partialfc.Margin):
    """A margin that uses the whole interface: hard negatives by a state, norms, a regulariser."""

    def __init__(self) -> None:
        super().__init__(scale=16.0)
        self.register_buffer("average", torch.zeros((), dtype=torch.float64))

    @property
    def logit_bound(self) -> float:
        return 3 * self.scale

    def update(self, cos: Tensor, norm: Tensor) -> None:
        self.average = 0.9 * self.average + 0.1 * cos.mean()

    def target(self, cos: Tensor, norm: Tensor) -> Tensor:
        return self.scale * (cos - 0.1 * norm.log1p())

    def negatives(self, cos: Tensor, target_cos: Tensor) -> Tensor:
        hard = cos > target_cos[:, None]
        return self.scale * torch.where(hard, cos * (self.average + cos) + 0.3 * target_cos[:, None], cos)

    def regulariser(self, norm: Tensor) -> Tensor:
        return 0.01 * (norm + 1 / norm)


def run_reweighting(cases: list[Case]) -> dict[str, Any]:
    """Micro-batches and one step, with a margin whose state moves between them."""
    world = World.of()
    head = partialfc.PartialFC(
        D,
        cases[0].num_classes,
        margin=Reweighting(),
        sample_rate=cases[0].sample_rate,
        weight_dtype=torch.float64,
        compute_dtype=torch.float64,
    )
    optimizer = partialfc.RowSGD(head, lr=1.0)
    losses, gradients, participating = [], [], []
    for case in cases:
        embeddings, labels = case.batch()
        begin = sum(case.sizes[: world.rank])
        mine = slice(begin, begin + case.sizes[world.rank])
        x = embeddings[mine].requires_grad_()
        loss = head(x, labels[mine])
        loss.backward()
        losses.append(loss.item())
        gradients.append(x.grad / world.size)
        participating.append(head.last_sample + head.shard.start)
    optimizer.step()
    return {
        "losses": losses,
        "gradients": gradients,
        "participating": participating,
        "weight": head.weight.detach(),
        "average": head.state_dict()["margin.average"],
    }


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_a_margin_may_reweight_negatives_use_norms_and_keep_state(
    run_ranks, world_size, sample_rate, micro_batches
):
    cases = [
        Case(even(world_size), num_classes=30, sample_rate=sample_rate, seed=seed)
        for seed in range(micro_batches)
    ]
    results = run_ranks(run_reweighting, world_size, cases)
    weight = cases[0].weight().requires_grad_()
    margin = Reweighting()
    for i, case in enumerate(cases):
        embeddings, labels = case.batch()
        embeddings.requires_grad_()
        cos = F.normalize(embeddings) @ F.normalize(weight).T
        rows = torch.arange(len(labels))
        target = cos[rows, labels]
        norm = embeddings.norm(dim=1)
        margin.update(target.detach(), norm.detach())
        logits = margin.negatives(cos, target)
        logits = logits.index_put((rows, labels), margin.target(target, norm))
        absent = torch.ones(len(weight), dtype=torch.bool)
        absent[torch.cat([result["participating"][i] for result in results])] = False
        loss = F.cross_entropy(logits.masked_fill(absent, -torch.inf), labels)
        loss = loss + margin.regulariser(norm).mean()
        loss.backward()
        for result in results:
            assert result["losses"][i] == pytest.approx(loss.item(), abs=TOLERANCE)
        gradient = torch.cat([result["gradients"][i] for result in results])
        torch.testing.assert_close(gradient, embeddings.grad, atol=TOLERANCE, rtol=0)
    for result in results:
        assert result["average"].item() == pytest.approx(margin.average.item(), abs=1e-14)
    moved = torch.cat([result["weight"] for result in results])
    torch.testing.assert_close(moved, weight.detach() - weight.grad, atol=1e-9, rtol=0)
