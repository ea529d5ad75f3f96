"""The losses beside the head with their loops, global batches, and what ranks make of one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import partialfc
from partialfc.distributed import World
from tests.losses import reference

D, C = 5, 7
TOLERANCE = 1e-10


def some_centres() -> Tensor:
    generator = torch.Generator("cpu").manual_seed(5)
    return torch.randn(C, D, dtype=torch.float64, generator=generator, device="cpu")


def own_centres(**options: Any) -> partialfc.CenterLoss:
    """A centre loss whose centres are `some_centres`, this rank's part of them."""
    loss = partialfc.CenterLoss(D, C, dtype=torch.float64, **options)
    loss.centres.copy_(some_centres()[loss.shard.start : loss.shard.stop])
    return loss


def a_head() -> partialfc.PartialFC:
    wide = {"weight_dtype": torch.float64, "compute_dtype": torch.float64}
    return partialfc.PartialFC(D, C, margin=partialfc.ArcFace(scale=8.0), **wide)


def head_centres() -> list[list[float]]:
    """All centres of `a_head` as it begins, of norm 1."""
    from partialfc.head.initial import normal_rows

    return reference.unit_rows(normal_rows(0, C, D, seed=0, dtype=torch.float64).tolist())


LOSSES: dict[str, tuple[Callable[[], partialfc.BatchLoss], Callable[[], reference.Loss]]] = {
    "contrastive": (partialfc.ContrastiveLoss, lambda: reference.contrastive(1.0)),
    "contrastive_balanced": (
        lambda: partialfc.ContrastiveLoss(margin=1.3, balanced=True),
        lambda: reference.contrastive(1.3, balanced=True),
    ),
    "contrastive_raw": (
        lambda: partialfc.ContrastiveLoss(margin=2.0, normalise=False),
        lambda: reference.contrastive(2.0, normalise=False),
    ),
    "angular": (lambda: partialfc.AngularContrastiveLoss(margin=1.5), lambda: reference.angular(1.5)),
    "angular_balanced": (
        lambda: partialfc.AngularContrastiveLoss(margin=1.5, balanced=True),
        lambda: reference.angular(1.5, balanced=True),
    ),
    **{
        f"triplet_{mining}": (
            lambda mining=mining: partialfc.TripletLoss(mining=mining, margin=0.3),
            lambda mining=mining: reference.triplet(mining, 0.3),
        )
        for mining in ("all", "hard", "semihard")
    },
    "triplet_raw": (
        lambda: partialfc.TripletLoss(mining="all", margin=0.5, normalise=False),
        lambda: reference.triplet("all", 0.5, normalise=False),
    ),
    "center": (own_centres, lambda: reference.centre(some_centres().tolist())),
    "center_unit": (
        lambda: own_centres(normalise=True),
        lambda: reference.centre(some_centres().tolist(), normalise=True),
    ),
    "center_of_head": (
        lambda: partialfc.CenterLoss(head=a_head()),
        lambda: reference.centre(head_centres(), normalise=True),
    ),
}

# By what is special: how many samples each rank has, and their labels.
BATCHES: dict[str, tuple[list[int], list[int]]] = {
    "alone": ([12], [0, 0, 1, 1, 1, 2, -1, 3, 2, 0, 6, 6]),
    "two ranks": ([6, 6], [0, 0, 1, 1, 1, 2, 2, 3, 2, 0, 6, 6]),
    "three uneven": ([7, 1, 4], [0, 0, 1, 1, -1, 2, 2, 3, 2, 0, 6, 6]),
    "a rank without samples": ([5, 0, 6], [0, 1, 0, 1, 2, 2, 2, 4, 5, 5, 1]),
    "a rank ignores all": ([3, 4], [-1, -1, -1, 4, 4, 5, 5]),
    "ignored": ([4, 3, 4], [1, -1, 1, -1, -1, 2, 2, 5, -1, -1, 5]),
    "all ignored": ([2, 1], [-1, -1, -1]),
    "no samples": ([0, 0], []),
    "a batch of one": ([1], [3]),
    "one sample in all": ([0, 1, 0], [3]),
    "one class": ([3, 2], [4, 4, 4, 4, 4]),
    "each its own class": ([2, 3], [0, 1, 2, 3, 4]),
}


def embeddings_of(labels: list[int], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(labels), D, dtype=torch.float64, generator=generator)


def own_part(sizes: list[int]) -> slice:
    begin = sum(sizes[: World.of().rank])
    return slice(begin, begin + sizes[World.of().rank])


def run_loss(name: str, sizes: list[int], labels: list[int], seed: int = 0) -> tuple[float, Tensor]:
    """On each rank: the loss, and the gradient of its own embeddings as DDP's averaging leaves it."""
    mine = own_part(sizes)
    x = embeddings_of(labels, seed)[mine].clone().requires_grad_()
    y = torch.tensor(labels, dtype=torch.int64)[mine]
    kept = x.detach().clone()
    loss = LOSSES[name][0]()
    value = loss(x, y)
    (value * 3).backward()
    assert torch.equal(x.detach(), kept)
    with torch.no_grad():
        assert loss.eval()(x, y).dtype == value.dtype
    return value.item(), x.grad / 3 / World.of().size
