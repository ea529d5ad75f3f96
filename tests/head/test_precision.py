"""Dtypes and extreme values: what is narrow stays close, what is extreme stays finite."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

import partialfc
from partialfc.distributed import World
from partialfc.head.initial import normal_rows
from tests.head import reference
from tests.head.cases import MARGINS, TOLERANCE, Case, D, build, even


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
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
    assert error < ({torch.bfloat16: 1e-2, torch.float16: 1e-3}.get(dtype, 1e-5))


def run_gathered(case: Case, gather_dtype: torch.dtype | None) -> dict[str, Any]:
    world = World.of()
    embeddings, labels = case.batch()
    mine = case.own()
    head = build(case, gather_dtype=gather_dtype)
    partialfc.RowSGD(head, lr=1.0)
    x = embeddings[mine].clone().requires_grad_()
    loss = head(x, labels[mine])
    loss.backward()
    return {"loss": loss.item(), "gradient": x.grad / world.size, "bytes": world_bytes(head)}


def world_bytes(head: partialfc.PartialFC) -> int:
    return head.world.traffic.bytes.get("all_gather", 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_embeddings_gathered_in_two_bytes_are_those_rounded_to_it(run_ranks, world_size, dtype):
    case = Case(even(world_size))
    results = run_ranks(run_gathered, world_size, case, dtype)
    embeddings, labels = case.batch()
    rounded = embeddings.to(dtype).double().requires_grad_()
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


def test_autocast_outside_does_not_reach_the_head():
    embeddings, labels = Case([8]).batch()
    head = build(Case([8]))
    plain = head(embeddings, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert head(embeddings, labels).item() == plain.item()


CONVERSIONS = {
    "half": lambda module: module.half(),
    "bfloat16": lambda module: module.bfloat16(),
    "double": lambda module: module.double(),
    "to": lambda module: module.to(torch.float16),
    "to device and dtype": lambda module: module.to("cpu", torch.float64),
    "type": lambda module: module.type(torch.float64),
}


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize("class_weights", [None, torch.ones(10)], ids=["", "class weights"])
@pytest.mark.parametrize("around", [lambda head: head, lambda head: torch.nn.ModuleDict({"head": head})])
def test_a_head_keeps_the_dtypes_that_it_was_built_with(conversion, class_weights, around):
    head = partialfc.PartialFC(8, 10, margin=partialfc.ArcFace(), class_weights=class_weights)
    with pytest.raises(ValueError, match=r"its weight torch.* with weight_dtype .* with compute_dtype"):
        CONVERSIONS[conversion](around(head))
    assert head.weight.dtype == torch.float32
    head(torch.randn(2, 8).double(), torch.tensor([1, 2]))


def test_a_conversion_to_the_dtypes_that_a_head_has_is_none():
    for dtype in (torch.float32, torch.float64):
        options = {"weight_dtype": dtype, "compute_dtype": dtype, "class_weights": torch.ones(10)}
        head = partialfc.PartialFC(8, 10, margin=partialfc.ArcFace(), **options)
        assert head.to(dtype) is head
        assert head.to("meta").weight.is_meta
    narrow = partialfc.PartialFC(
        8, 10, margin=partialfc.ArcFace(), weight_dtype=torch.bfloat16, class_weights=torch.ones(10)
    )
    with pytest.raises(ValueError, match=r"its class_weights torch\.bfloat16, and it is torch\.float32"):
        narrow.bfloat16()
