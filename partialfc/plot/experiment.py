"""A small experiment that shows losses at work: embeddings of 2 or 3 numbers, one network for each loss."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

import partialfc
from partialfc.backbones.convnet import ConvNet
from partialfc.data.parallel.progress import ShowProgress, no_progress
from partialfc.head.margins.base import Margin
from partialfc.plot.digits import DIGITS, Digits

SIZE = 24  # pixels
BATCH = 128
BACKBONE_LR, HEAD_LR = 0.05, 0.005  # centres in 2 dimensions that move faster end up beside each other
WARM_UP = 50  # steps
SCALE = 16.0
SHOWN = 3  # of so many training images one other image is shown


@dataclass(frozen=True)
class Embedded:
    """Where a trained network puts images that it was not trained on.

    embeddings [n, D]; labels [n]; centres [8, D] as they were trained. accuracy: the share of images whose
    own class has the largest logit. degrees: the mean angle between an embedding and its own centre.
    """

    embeddings: Tensor
    labels: Tensor
    centres: Tensor
    accuracy: float
    degrees: float


def _sphereface(m: int, steps: int) -> Margin:
    """Annealed so that the margin is nearly whole after the first half of the steps."""
    return partialfc.SphereFace(m, lambda_min=0.0, lambda_base=20.0, lambda_gamma=200.0 / steps)


# By the words above a picture: the margin for a training of so many steps. In 2 dimensions 8 centres are 45
# degrees apart at best, so a margin must be below: CosFace's below 1 - cos(45 degrees) = 0.29.
LOSSES: Mapping[str, Callable[[int], Margin]] = {
    "softmax": lambda _: partialfc.Softmax(),
    "modified softmax\n= SphereFace, m = 1": lambda _: partialfc.ModifiedSoftmax(),
    "SphereFace, m = 2": lambda steps: _sphereface(2, steps),
    "SphereFace, m = 4": lambda steps: _sphereface(4, steps),
    "normalized softmax": lambda _: partialfc.NormalizedSoftmax(scale=SCALE),
    "CosFace, m = 0.2": lambda _: partialfc.CosFace(scale=SCALE, margin=0.2),
    "ArcFace, m = 0.5": lambda _: partialfc.ArcFace(scale=SCALE, margin=0.5),
}


def embed_digits(
    losses: Mapping[str, Callable[[int], Margin]] = LOSSES,
    *,
    dimensions: int,
    images: int,
    epochs: int,
    seed: int,
    progress: ShowProgress = no_progress,
) -> dict[str, Embedded]:
    """Train a network on `images` pictures of each of 8 digits for each loss: all start alike.

    dimensions: 2 or 3. On one machine the same arguments give the same numbers. progress: called as
    progress(loss, step, steps). Raises MissingExtraError without the extra `glyphs`.
    """
    digits = Digits(size=SIZE, seed=seed)
    pictures, labels = digits.batch(0, images)
    shown = digits.batch(images, max(1, images // SHOWN))
    steps = epochs * max(1, len(labels) // BATCH)
    order = _batches(len(labels), steps, seed)
    found = {}
    for name, make in losses.items():
        stepped = partial(progress, name.replace("\n", " "))
        backbone, head = _untrained(make(steps), dimensions, seed)
        _train(backbone, head, pictures, labels, order, stepped)
        found[name] = _embedded(backbone, head, *shown)
    return found


def first_centres(dimensions: int) -> Tensor:
    """8 unit vectors [8, D], evenly spaced: on the circle, or the corners of a cube."""
    if dimensions == 2:
        angles = torch.arange(len(DIGITS)) * 2.0 * math.pi / len(DIGITS)
        return torch.stack([angles.cos(), angles.sin()], dim=1)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * dimensions)
    return normalize(corners)


def _untrained(margin: Margin, dimensions: int, seed: int) -> tuple[nn.Module, partialfc.PartialFC]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = ConvNet(
            embedding_size=dimensions, image_size=SIZE, channels=1, widths=(16, 32), blocks=(1, 1)
        )
    head = partialfc.PartialFC(dimensions, len(DIGITS), margin=margin, compile=False, seed=seed)
    with torch.no_grad():
        head.weight.copy_(first_centres(dimensions))
    return backbone, head


def _batches(count: int, steps: int, seed: int) -> Tensor:
    """The samples of each step [steps, B], each epoch in an order of its own."""
    generator = torch.Generator().manual_seed(seed)
    batch = min(BATCH, count)
    epochs = -(-steps * batch // count) + 1
    orders = [torch.randperm(count, generator=generator)[: count // batch * batch] for _ in range(epochs)]
    return torch.cat(orders).view(-1, batch)[:steps]


def _train(
    backbone: nn.Module,
    head: partialfc.PartialFC,
    pictures: Tensor,
    labels: Tensor,
    order: Tensor,
    stepped: Callable[[int, int], None],
) -> None:
    of_backbone = torch.optim.SGD(backbone.parameters(), BACKBONE_LR, momentum=0.9, weight_decay=5e-4)
    of_head = partialfc.RowSGD(head, lr=HEAD_LR, momentum=0.9)
    both = partialfc.JointOptimizer(of_backbone, of_head)
    schedule = torch.optim.lr_scheduler.LambdaLR(both, lambda step: _rate(step, len(order)))
    for step, samples in enumerate(order):
        loss = head(backbone(pictures[samples]), labels[samples])
        loss.backward()
        nn.utils.clip_grad_norm_(backbone.parameters(), 5.0)
        both.step()
        both.zero_grad()
        schedule.step()
        stepped(step + 1, len(order))


def _rate(step: int, steps: int) -> float:
    """Of the largest learning rate: a short rise, then half a cosine down to 0."""
    return min(1.0, (step + 1) / WARM_UP) * (1.0 + math.cos(math.pi * step / steps)) / 2.0


@torch.no_grad()
def _embedded(backbone: nn.Module, head: partialfc.PartialFC, pictures: Tensor, labels: Tensor) -> Embedded:
    backbone.eval()
    embeddings, centres = backbone(pictures), head.current_rows()
    unit = normalize(centres)
    logits = embeddings @ (unit if head.margin.normalises_centres else centres).T
    own = (normalize(embeddings) * unit[labels]).sum(1).clamp(-1, 1)
    return Embedded(
        embeddings,
        labels,
        centres,
        accuracy=float((logits.argmax(1) == labels).float().mean()),
        degrees=float(torch.rad2deg(own.acos()).mean()),
    )
