"""Pairs of classes that look like one identity under two ids."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from partialfc.cleaning.nearest import nearest_others
from partialfc.cleaning.references import References, of_classes

HALVED = 2000  # classes that are cut in two halves, to learn what two ids of one identity look like
FOUND = 0.9  # the share of such halves that the thresholds let pass


@dataclass(frozen=True)
class Duplicate:
    """Two class ids, the lower one first. cosine: of their means. gap: how much nearer each one's images are
    to the other class's mean than to their own, on average, for the class of the two where that is less.
    """

    first: int
    second: int
    cosine: float
    gap: float


def find_duplicates(
    rows: Tensor,
    labels: Tensor,
    references: References,
    *,
    seed: int = 0,
    device: torch.device | None = None,
) -> list[Duplicate]:
    """Unit embeddings [n, D], class ids [n] and the classes' means -> pairs, the likeliest first.

    Images that are in the wrong class should be left out before. Of each class the two nearest others are
    looked at, so that a class is found under three ids at least. A pair is a duplicate where the images of
    each fit the other's mean about as well as the mean of the others of their own class: as well as in nine
    of ten classes that are cut into two halves at random. Two identities that the network cannot tell apart
    look the same. Classes with a single image take no part.
    """
    members = {int(labels[images[0]]): images for images in of_classes(labels) if len(images) > 1}
    halves = _halves(rows, members, seed)
    if len(members) < 3 or not len(halves):
        return []
    least_cosine, least_gap = torch.quantile(halves, 1 - FOUND, dim=0).tolist()
    known = torch.tensor(sorted(members))
    means = references.centres[known]
    near = nearest_others(means, torch.arange(len(known)), means, device=device)
    pairs = {
        (min(int(a), int(b)), max(int(a), int(b))): float(cosine)
        for a, others, cosines in zip(known, known[near.classes], near.cosines, strict=True)
        for b, cosine in zip(others, cosines, strict=True)
        if cosine >= least_cosine
    }
    found = [
        Duplicate(a, b, cosine, _gap(rows, references, members, a, b)) for (a, b), cosine in pairs.items()
    ]
    return sorted((pair for pair in found if pair.gap >= least_gap), key=lambda pair: -pair.gap)


def _gap(rows: Tensor, references: References, members: dict[int, Tensor], a: int, b: int) -> float:
    of_each = [
        (rows[members[one]].float() @ references.centres[other] - references.own[members[one]]).mean()
        for one, other in ((a, b), (b, a))
    ]
    return float(min(of_each))


def _halves(rows: Tensor, members: dict[int, Tensor], seed: int) -> Tensor:
    """[m, 2]: cosine and gap of the halves of classes with four images or more."""
    generator = torch.Generator().manual_seed(seed)
    large = [images for images in members.values() if len(images) >= 4]
    chosen = torch.randperm(len(large), generator=generator)[:HALVED].tolist()
    found = []
    for index in chosen:
        images = large[index][torch.randperm(len(large[index]), generator=generator)]
        parts = [rows[part].float() for part in images.tensor_split(2)]
        sums = [part.sum(0) for part in parts]
        means = [normalize(each, dim=0) for each in sums]
        gaps = [
            (parts[one] @ means[1 - one] - (normalize(sums[one] - parts[one]) * parts[one]).sum(1)).mean()
            for one in (0, 1)
        ]
        found.append(torch.stack([means[0] @ means[1], torch.minimum(*gaps)]))
    return torch.stack(found) if found else torch.zeros(0, 2)
