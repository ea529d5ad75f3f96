import pytest
import torch
from torch.nn import functional as F

from partialfc.distributed import World
from partialfc.errors import DistributedError, LabelError
from partialfc.occlusion import SegmentationLoss, intersection_over_union


def case(count):
    generator = torch.Generator().manual_seed(count)
    logits = 3 * torch.randn(count, 3, 4, generator=generator, dtype=torch.float64)
    return logits, (torch.rand(count, 3, 4, generator=generator) < 0.3).double()


def on_ranks(sizes, labels):
    world = World.of()
    logits, masks = case(sum(sizes))
    begin = sum(sizes[: world.rank])
    mine = slice(begin, begin + sizes[world.rank])
    x = logits[mine].clone().requires_grad_()
    value = SegmentationLoss()(x, masks[mine], torch.tensor(labels)[mine])
    (5 * value).backward()
    return value.item(), x.grad / 5 / world.size


@pytest.mark.parametrize(
    ("sizes", "labels"),
    [([3], [0, -1, 2]), ([2, 3], [0, 1, 2, -1, 4]), ([4, 0, 1], [-1, 1, 1, 1, -1]), ([2, 1], [-1, -1, -1])],
    ids=["one", "uneven", "a_rank_without", "none_valid"],
)
def test_value_and_gradient_are_those_of_one_mean_over_valid_images(run_ranks, sizes, labels):
    results = run_ranks(on_ranks, len(sizes), sizes, labels)
    logits, masks = case(sum(sizes))
    valid = torch.tensor(labels) >= 0
    x = logits.requires_grad_()
    chosen = F.binary_cross_entropy_with_logits(x[valid], masks[valid], reduction="sum")
    expected = chosen / max(1, int(valid.sum()) * 12)
    expected.backward()
    assert [value for value, _ in results] == pytest.approx([expected.item()] * len(sizes), abs=1e-12)
    assert len({value for value, _ in results}) == 1
    torch.testing.assert_close(torch.cat([gradient for _, gradient in results]), x.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrow_predictions_are_summed_in_float32_and_extreme_ones_stay_finite(dtype):
    logits = torch.tensor([[[1e4, -1e4], [0.0, 5.0]]], dtype=dtype, requires_grad=True)
    value = SegmentationLoss()(logits, torch.tensor([[[0, 1], [0, 1]]]))
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(5000.17, rel=1e-2)
    assert logits.grad.isfinite().all()
    assert logits.grad.dtype == dtype


def test_iou_counts_cells_of_all_images_together():
    masks = torch.tensor([[[1, 1], [0, 0]], [[0, 0], [0, 0]]])
    assert intersection_over_union(torch.tensor([[[1.0, -1], [2, -1]], [[-1, -1], [-1, 3]]]), masks) == 1 / 4
    assert intersection_over_union(masks - 0.5, masks) == 1
    assert intersection_over_union(-torch.ones(2, 2, 2), 0 * masks) == 1


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        (((2, 3, 3), (2, 3, 4), (2,)), r"predicted is \(2, 3, 3\) and masks \(2, 3, 4\)"),
        (((2, 9), (2, 9), (2,)), r"must be \[B, H, W\]"),
        (((2, 3, 3), (2, 3, 3), (3,)), r"labels is \(3,\).*2 images"),
    ],
    ids=["masks", "flat", "labels"],
)
def test_a_wrong_shape_is_named(shapes, says):
    with pytest.raises(ValueError, match=says):
        SegmentationLoss()(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize(
    ("predicted", "masks", "says"),
    [
        ([[[0.0]]], torch.zeros(1, 1, 1), "predicted is a list; it must be a torch.Tensor"),
        (torch.zeros(1, 1, 1), [[[0.0]]], "masks is a list; it must be a torch.Tensor"),
        (torch.zeros(1, 1, 1, dtype=torch.int64), torch.zeros(1, 1, 1), "predicted.dtype is torch.int64"),
        (torch.zeros(1, 1, 1), torch.zeros(1, 1, 1, device="meta"), "masks.device is meta"),
    ],
    ids=["list", "list_of_masks", "whole_numbers", "no_values"],
)
def test_a_wrong_kind_is_named(predicted, masks, says):
    with pytest.raises(ValueError, match=says):
        SegmentationLoss()(predicted, masks)


def differing(how):
    """Rank 1 has something else than rank 0."""
    other = World.of().rank == 1
    x = torch.zeros(2, 4, 3) if other and how == "sides" else torch.zeros(2, 3, 4)
    masks = torch.zeros(2, 9) if other and how == "masks" else torch.zeros_like(x)
    labels = torch.tensor([0, -5]) if other and how == "label" else torch.tensor([0, -1])
    return SegmentationLoss()(x.requires_grad_(not (other and how == "gradient")), masks, labels).item()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("masks", ("bad input on rank 1", r"masks \(2, 9\): both must be \[B, H, W\]")),
        ("sides", (r"ranks \[1\] call this loss otherwise than rank 0.*size",) * 2),
        ("gradient", (r"ranks \[1\] call this loss otherwise than rank 0.*gradients",) * 2),
        ("label", ("label -5 at sample 1 on rank 1: labels must be at least 0",) * 2),
    ],
    ids=["masks", "sides", "gradient", "label"],
)
def test_what_is_wrong_on_one_rank_is_told_on_every_rank(rank_outcomes, how, says):
    for outcome, message in zip(rank_outcomes(differing, 2, how), says, strict=True):
        with pytest.raises(LabelError if how == "label" else (DistributedError, ValueError), match=message):
            raise outcome


def test_without_gradients_none_is_computed():
    logits, masks = case(3)
    with torch.no_grad():
        value = SegmentationLoss()(logits.requires_grad_(), masks)
    assert not value.requires_grad
    assert value == SegmentationLoss()(logits, masks).detach()
    assert not SegmentationLoss()(logits.detach(), masks).requires_grad
