"""Embeddings of classes as a network gives them, without one: directions with noise around them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

SIZE = 48


@dataclass(frozen=True, eq=False)
class Case:
    """rows [n, SIZE] float16, unit. given, true: class ids [n]."""

    rows: Tensor
    given: Tensor
    true: Tensor

    @property
    def wrong(self) -> Tensor:
        return self.given != self.true


def directions(classes: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(classes, SIZE, generator=generator))


def images_of(centres: Tensor, identities: Tensor, *, seed: int = 1) -> Tensor:
    """An image of each identity: some lie near their centre, a few far from it."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(identities), SIZE, generator=generator) / SIZE**0.5
    spread = (0.6 * torch.randn(len(identities), 1, generator=generator)).exp()
    return normalize(centres[identities] + 0.6 * spread * noise).half()


def flipped(share: float, *, classes: int = 300, per_class: int = 12, seed: int = 0) -> Case:
    """A share of the labels is drawn anew, each other class as likely."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.arange(classes).repeat_interleave(per_class)
    given = true.clone()
    chosen = torch.randperm(len(true), generator=generator)[: round(share * len(true))]
    given[chosen] = (true[chosen] + torch.randint(1, classes, (len(chosen),), generator=generator)) % classes
    return Case(images_of(directions(classes, seed=seed), true, seed=seed + 1), given, true)
