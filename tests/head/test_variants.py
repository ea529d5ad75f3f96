"""Kinds of softmax beyond a margin on cosines, in a head, against autograd on dense logits in float64.

The reference is written from the definitions: raw or unit centres and embeddings, a bias, several centres to
a class, a filter of negatives, a correction of sampled logits, a margin of each class.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import partialfc
from partialfc.distributed import World
from partialfc.head import sampling
from partialfc.head.initial import normal_rows
from tests.head.cases import TOLERANCE, Case, D, even
from tests.head.margins.examples import negatives_of
from tests.head.small_chunks import WAYS, small_chunks

LR = 1.0
OF_CLASSES = [0.02 * k for k in range(31)]


class Raw(partialfc.Margin):
    """Norms kept, a target that depends on all of them."""

    normalises_centres = False
    normalises_embeddings = False

    def __init__(self, *, bias: bool = False, scale: float = 1.0) -> None:
        super().__init__(scale=scale)
        self.bias = bias

    def target(self, samples: partialfc.Samples) -> Tensor:
        assert samples.centre_norm is not None
        length = samples.norm * samples.centre_norm
        return self.scale * (
            length * samples.cos - 0.1 * length * (1 - samples.cos**2) - 0.2 * samples.centre_norm
        )


class OfNorm(partialfc.Margin):
    """Unit centres, the embedding's norm kept."""

    normalises_embeddings = False

    def target(self, samples: partialfc.Samples) -> Tensor:
        return self.scale * samples.norm * (samples.cos - 0.1 * samples.cos**2)


class Hard(partialfc.Margin):
    """Negatives re-weighted by the target's cosine."""

    @property
    def logit_bound(self) -> float:
        return 3 * self.scale

    def target(self, samples: partialfc.Samples) -> Tensor:
        return self.scale * (samples.cos - 0.2)

    def prepare(self, samples: partialfc.Samples) -> Tensor:
        return torch.stack([samples.cos - 0.2, 1.3 + 0.3 * samples.cos])

    def negatives(self, cos: Tensor, samples: partialfc.Samples) -> Tensor:
        hard_above, factor = samples.prepared
        return self.scale * torch.where(cos > hard_above, cos * factor + 0.01 * samples.cos, cos)


MARGINS: dict[str, Any] = {
    "raw": Raw,
    "raw with a bias": lambda: Raw(bias=True),
    "norm kept": lambda: OfNorm(scale=1.5),
    "hard": lambda: Hard(scale=8.0),
    "arcface": lambda: partialfc.ArcFace(scale=16.0, margin=0.3),
    "cosface": lambda: partialfc.CosFace(scale=16.0, margin=0.2),
}


@dataclass
class Variant:
    """A head, and the batches of one optimizer's step."""

    margin: str
    sub_centers: int = 1
    sample_rate: float = 1.0
    num_classes: int = 31
    batches: int = 1
    size: float = 1.0  # what embeddings are multiplied by
    head: dict[str, Any] = field(default_factory=dict)

    def made(self) -> partialfc.Margin:
        margin = MARGINS[self.margin]()
        return margin if self.sub_centers == 1 else partialfc.SubCenter(k=self.sub_centers, base=margin)

    def cases(self, world_size: int) -> list[Case]:
        return [
            Case(even(world_size), num_classes=self.num_classes, sample_rate=self.sample_rate, seed=seed)
            for seed in range(self.batches)
        ]


def first_bias(variant: Variant) -> Tensor:
    return torch.linspace(-0.5, 0.5, variant.num_classes, dtype=torch.float64)


def run_variant(variant: Variant) -> dict[str, Any]:
    """On each rank: losses, embedding gradients, samples, and the rows after a step of gradient descent."""
    world = World.of()
    head = partialfc.PartialFC(
        D,
        variant.num_classes,
        margin=variant.made(),
        sample_rate=variant.sample_rate,
        weight_dtype=torch.float64,
        compute_dtype=torch.float64,
        **variant.head,
    )
    own = slice(head.shard.start, head.shard.stop)
    with torch.no_grad():
        head.weight.mul_(100)  # of a norm that counts
        if head.bias is not None:
            head.bias.copy_(first_bias(variant)[own])
    optimizer = partialfc.RowSGD(head, lr=LR)
    losses, gradients, participating = [], [], []
    for case in variant.cases(world.size):
        embeddings, labels = case.batch()
        x = (variant.size * embeddings[case.own()]).requires_grad_()
        loss = head(x, labels[case.own()])
        loss.backward()
        losses.append(loss.item())
        gradients.append(x.grad / world.size)
        participating.append(head.last_sample + head.shard.start)
    optimizer.step()
    bias = None if head.bias is None else head.bias.detach()
    return {
        "losses": losses,
        "gradients": gradients,
        "participating": participating,
        "weight": head.weight.detach(),
        "bias": bias,
    }


def dense(variant: Variant, case: Case, weight: Tensor, bias: Tensor, taking_part: Tensor, step: int) -> Any:
    """One batch's loss on one process, and its embeddings; weight [C, S·D]."""
    margin, options = variant.made(), variant.head
    embeddings, labels = case.batch()
    embeddings = (variant.size * embeddings).requires_grad_()
    n, rows = len(labels), torch.arange(len(labels))
    centres = weight.view(len(weight), variant.sub_centers, embeddings.shape[1])
    norms = centres.norm(dim=2)
    unit = F.normalize(embeddings)
    cos_of_each = torch.einsum("nd,csd->ncs", unit, F.normalize(centres, dim=2))
    used = cos_of_each if margin.normalises_centres else torch.einsum("nd,csd->ncs", unit, centres)
    product, winner = used.max(dim=2)
    norm = embeddings.norm(dim=1)
    target_norm = None if margin.normalises_centres else norms[labels, winner[rows, labels]]
    own = None
    if "class_margins" in options:
        own = torch.tensor(options["class_margins"], dtype=torch.float64)[labels]
    target_cos = product[rows, labels] if target_norm is None else product[rows, labels] / target_norm
    samples = partialfc.Samples(target_cos, norm, target_norm, own)
    if margin.reweights_negatives:
        logits = negatives_of(margin, product.T, samples).T
    else:
        logits = margin.scale * product * (1.0 if margin.normalises_embeddings else norm[:, None])
    logits = logits.index_put((rows, labels), margin.target(samples)) + bias
    negative = torch.ones(n, len(weight), dtype=torch.bool).index_put((rows, labels), torch.tensor(False))
    absent = torch.ones(len(weight), dtype=torch.bool)
    absent[taking_part] = False
    left_out = absent.expand(n, -1)
    if options.get("interclass_filter") is not None:
        left_out = left_out | ((product > options["interclass_filter"]) & negative)
    if options.get("logit_correction"):
        logits = logits + correction(variant, labels, step) * negative
    return F.cross_entropy(logits.masked_fill(left_out, -torch.inf), labels), embeddings


def correction(variant: Variant, labels: Tensor, step: int) -> Tensor:
    """[C] log(1 / probability) of each class to be drawn; one block, as there are few classes."""
    positives = labels.unique()
    size = sampling.sample_size(variant.num_classes, variant.sample_rate)
    odds = (size - len(positives)) / (variant.num_classes - len(positives))
    of_classes = torch.full((variant.num_classes,), -np.log(odds), dtype=torch.float64)
    of_classes[positives] = 0.0
    return of_classes


def check(variant: Variant, results: list[dict[str, Any]]) -> None:
    size = variant.sub_centers * D
    weight = (100 * normal_rows(0, variant.num_classes, size, seed=0, dtype=torch.float64)).requires_grad_()
    bias = first_bias(variant) if "bias" in variant.margin else torch.zeros(variant.num_classes).double()
    bias.requires_grad_()
    for i, case in enumerate(variant.cases(len(results))):
        taking_part = torch.cat([result["participating"][i] for result in results])
        loss, embeddings = dense(variant, case, weight, bias, taking_part, i)
        loss.backward()
        for result in results:
            assert result["losses"][i] == pytest.approx(loss.item(), rel=TOLERANCE, abs=TOLERANCE)
        gradient = torch.cat([result["gradients"][i] for result in results])
        limit = TOLERANCE * max(1.0, embeddings.grad.abs().max().item())
        torch.testing.assert_close(gradient, embeddings.grad, atol=limit, rtol=0)
    moved = torch.cat([result["weight"] for result in results])
    limit = 1e-9 * max(1.0, weight.grad.abs().max().item())
    torch.testing.assert_close(moved, (weight - LR * weight.grad).detach(), atol=limit, rtol=0)
    if results[0]["bias"] is not None:
        moved = torch.cat([result["bias"] for result in results])
        torch.testing.assert_close(moved, (bias - LR * bias.grad).detach(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("sample_rate", [1.0, 0.6])
@pytest.mark.parametrize("sub_centers", [1, 3])
@pytest.mark.parametrize("margin", MARGINS)
def test_a_head_matches_dense_logits(run_ranks, world_size, sample_rate, sub_centers, margin):
    variant = Variant(margin, sub_centers, sample_rate, batches=2)
    check(variant, run_ranks(run_variant, world_size, variant))


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize(
    ("margin", "head"),
    [
        ("arcface", {"interclass_filter": 0.1}),
        ("hard", {"interclass_filter": 0.1}),
        ("norm kept", {"interclass_filter": 0.1}),
        ("arcface", {"logit_correction": True}),
        ("hard", {"logit_correction": True}),
        ("raw with a bias", {"logit_correction": True}),
        ("arcface", {"class_margins": OF_CLASSES}),
        ("cosface", {"class_margins": OF_CLASSES}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_an_option_of_a_head_matches_dense_logits(run_ranks, world_size, margin, head):
    variant = Variant(margin, sample_rate=0.6, head=head)
    check(variant, run_ranks(run_variant, world_size, variant))


def run_in_chunks(variant: Variant, budget: int) -> dict[str, Any]:
    with small_chunks(budget):
        return run_variant(variant)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("sub_centers", [1, 3])
@pytest.mark.parametrize("margin", ["raw with a bias", "norm kept", "hard"])
def test_every_way_through_the_chunks_is_exact(run_ranks, world_size, margin, sub_centers, way):
    """Where logits have no bound, the shift rises from chunk to chunk, and what was kept has to follow."""
    size = 1.0 if margin == "hard" else 1e3
    variant = Variant(margin, sub_centers, 0.6, num_classes=151, batches=2, size=size)
    check(variant, run_ranks(run_in_chunks, world_size, variant, WAYS[way]))


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("size", [1e4, 1e-4])
@pytest.mark.parametrize("margin", ["raw", "raw with a bias", "norm kept"])
def test_logits_have_no_bound(run_ranks, world_size, size, margin):
    """Up to some 1e4 and beyond, where exponentials of a fixed shift would be infinite or 0."""
    variant = Variant(margin, size=size)
    check(variant, run_ranks(run_variant, world_size, variant))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["target far above", "target far below"])
@pytest.mark.parametrize("bias", [False, True])
def test_plain_softmax_neither_overflows_nor_takes_the_log_of_0(bias, sign, dtype):
    """Logits of +-1e4 in single precision; bfloat16 rounds products to some 30, so others may be largest."""
    head = partialfc.PartialFC(D, 31, margin=partialfc.Softmax(bias=bias), compute_dtype=dtype)
    embeddings = torch.randn(9, D, generator=torch.Generator().manual_seed(3))
    labels = torch.arange(9)
    rows = head.weight.detach()
    rows.copy_(torch.randn(31, D, generator=torch.Generator().manual_seed(4)))
    rows[:9] = sign * F.normalize(embeddings) * rows[:9].norm(dim=1, keepdim=True)
    embeddings = (embeddings * (1e4 / (embeddings @ rows.T).abs().max())).requires_grad_()
    partialfc.RowSGD(head, lr=0.1)
    loss = head(embeddings, labels)
    loss.backward()
    wide = embeddings.detach().double().requires_grad_()
    expected = F.cross_entropy(wide @ rows.double().T, labels)
    expected.backward()
    near = 1e-5 if dtype == torch.float32 else 0.02
    assert loss.item() == pytest.approx(expected.item(), rel=near, abs=near)
    assert torch.isfinite(embeddings.grad).all()
    if dtype == torch.float32:
        limit = near * max(wide.grad.abs().max().item(), 0.1)
        torch.testing.assert_close(embeddings.grad.double(), wide.grad, atol=limit, rtol=0)


@pytest.mark.parametrize("num_classes", [1, 2])
@pytest.mark.parametrize("margin", ["arcface", "raw with a bias"])
def test_a_rank_without_classes_or_targets_takes_part(run_ranks, margin, num_classes):
    variant = Variant(margin, sub_centers=3, num_classes=num_classes)
    check(variant, run_ranks(run_variant, 3, variant))
