"""What an image is compared with: the direction of each class, and how near it is to that of its own."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

ROUNDS = 10  # of weighing again; weights change little after half of them
FLOOR = 0.02  # of a cosine in a weight: what agrees with no other image counts little, but not nothing
GRAM = 512  # images of a class that may be its mode
BLOCK = 65_536  # images in float32 at a time


@dataclass(frozen=True, eq=False)
class References:
    """centres [C, D]: unit rows, 0 for a class without images. own [n]: each image's cosine to its class.

    own is NaN where the class has no other image to compare it with.
    """

    centres: Tensor
    own: Tensor


def mean_references(rows: Tensor, labels: Tensor, num_classes: int) -> References:
    """Unit embeddings [n, D] and class ids [n] -> the weighted mean of each class; own leaves the image out.

    The mean begins at the class's mode, the image with the most of its class near it, and weighs each image
    by the square of its cosine to the mean of the others, again and again. So what is not of the class's
    larger identity hardly counts, and no image speaks for itself, as it does in a centre that was trained on
    it. Memory beside the embeddings: O(C · D).
    """
    size = torch.bincount(labels, minlength=num_classes)
    weights = _weights_of_modes(rows, labels)
    own = torch.zeros(len(rows))
    sums = _sums(rows, labels, weights, num_classes)
    for _ in range(ROUNDS):
        for part in _blocks(len(rows)):
            block = rows[part].float()
            others = sums[labels[part]] - weights[part, None] * block
            own[part] = (normalize(others) * block).sum(1)
        weights = own.clamp(min=FLOOR).square()
        sums = _sums(rows, labels, weights, num_classes)
    own[size[labels] < 2] = torch.nan
    return References(normalize(sums), own)


def trained_references(rows: Tensor, labels: Tensor, centres: Tensor) -> References:
    """Unit embeddings [n, D], class ids [n], trained centres [C, D] or [C, K, D] -> those centres.

    Of K sub-centres the dominant one stands for the class: that which most of its images are nearest to
    (Deng et al. 2020, "Sub-center ArcFace", section 3.3).
    """
    units = normalize(centres.float(), dim=-1)
    if units.dim() == 3:
        units = _dominant(rows, labels, units)
    own = torch.cat(
        [(rows[part].float() * units[labels[part]]).sum(1) for part in _blocks(len(rows))] or [torch.zeros(0)]
    )
    return References(units, own)


def _dominant(rows: Tensor, labels: Tensor, units: Tensor) -> Tensor:
    """[C, D], of the sub-centres [C, K, D]."""
    votes = torch.zeros(units.shape[:2], dtype=torch.int64)
    for part in _blocks(len(rows)):
        cosines = torch.einsum("nkd,nd->nk", units[labels[part]], rows[part].float())
        votes.index_put_((labels[part], cosines.argmax(1)), torch.tensor(1), accumulate=True)
    return units[torch.arange(len(units)), votes.argmax(1)]


def _weights_of_modes(rows: Tensor, labels: Tensor) -> Tensor:
    """[n], the squared cosine of each image to the mode of its class."""
    weights = torch.ones(len(rows))
    for images in of_classes(labels):
        if len(images) < 3:
            continue  # two images are as near to each other as the other way round
        block = rows[images].float()
        some = block if len(block) <= GRAM else block[torch.linspace(0, len(block) - 1, GRAM).long()]
        near = (some @ some.T).clamp(min=0)
        mode = near.pow(4).sum(1).argmax()
        weights[images] = (block @ some[mode]).clamp(min=FLOOR).square()
    return weights


def of_classes(labels: Tensor) -> Iterator[Tensor]:
    """The indices of the images of each class that has any, in the order of the ids."""
    order = torch.argsort(labels, stable=True)
    _, counts = torch.unique_consecutive(labels[order], return_counts=True)
    yield from torch.split(order, counts.tolist())


def _sums(rows: Tensor, labels: Tensor, weights: Tensor, num_classes: int) -> Tensor:
    sums = torch.zeros(num_classes, rows.shape[1])
    for part in _blocks(len(rows)):
        sums.index_add_(0, labels[part], weights[part, None] * rows[part].float())
    return sums


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))
