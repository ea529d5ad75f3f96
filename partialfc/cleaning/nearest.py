"""Which other classes an image is nearest to, and how near images are to classes by chance."""

from dataclasses import dataclass

import torch
from torch import Tensor

ROWS, COLUMNS = 2048, 16_384  # of a tile of cosines: 128 MiB
CHANCE_IMAGES, CHANCE_CLASSES = 65_536, 64  # that chance margins are drawn from


@dataclass(frozen=True, eq=False)
class Nearest:
    """The two nearest classes beside its own to each image: cosines [n, 2], falling, and classes [n, 2]."""

    cosines: Tensor
    classes: Tensor


def nearest_others(
    rows: Tensor, labels: Tensor, centres: Tensor, *, device: torch.device | None = None
) -> Nearest:
    """Unit embeddings [n, D], class ids [n], unit centres [C, D] (C at least 3) -> the nearest other classes.

    Exact, in tiles of the product on `device`; a centre that is 0 is nobody's neighbour.
    """
    device = device or rows.device
    cosines, classes = torch.empty(len(rows), 2), torch.empty(len(rows), 2, dtype=torch.int64)
    exists = centres.any(1)
    for first in range(0, len(rows), ROWS):
        block = rows[first : first + ROWS].to(device, torch.float32)
        own = labels[first : first + ROWS].to(device)
        best = block.new_full((len(block), 2), -2.0), own.new_zeros(len(block), 2)
        for start in range(0, len(centres), COLUMNS):
            part = centres[start : start + COLUMNS].to(device)
            tile = block @ part.T
            tile.masked_fill_(~exists[start : start + len(part)].to(device), -2.0)
            inside = (own >= start) & (own < start + len(part))
            tile[inside.nonzero()[:, 0], own[inside] - start] = -2.0
            found, where = tile.topk(min(2, len(part)), 1)
            both = torch.cat([best[0], found], 1), torch.cat([best[1], where + start], 1)
            order = both[0].topk(2, 1).indices
            best = both[0].gather(1, order), both[1].gather(1, order)
        cosines[first : first + len(block)], classes[first : first + len(block)] = (
            best[0].cpu(),
            best[1].cpu(),
        )
    return Nearest(cosines, classes)


def chance_margins(
    rows: Tensor, labels: Tensor, own: Tensor, nearest: Nearest, centres: Tensor, *, seed: int
) -> Tensor:
    """The margins [m], rising, that images would have if their labels were drawn at random.

    The margin of an image under a label is its cosine to that class, less that to the nearest class of all;
    none is above 0. The labels that are drawn are neither its own nor that nearest one.
    """
    generator = torch.Generator().manual_seed(seed)
    images = torch.randperm(len(rows), generator=generator)[:CHANCE_IMAGES].sort().values
    known = centres.any(1).nonzero().flatten()
    margins = []
    for part in torch.split(images, 1024):
        drawn = known[torch.randperm(len(known), generator=generator)[:CHANCE_CLASSES]]
        cosines = rows[part].float() @ centres[drawn].T
        other, of_own = nearest.cosines[part, :1], own[part, None].nan_to_num(-2.0)
        top = torch.where(of_own > other, labels[part, None], nearest.classes[part, :1])
        allowed = (drawn != labels[part, None]) & (drawn != top)
        margins.append((cosines - torch.maximum(of_own, other))[allowed])
    return torch.cat(margins).sort().values
