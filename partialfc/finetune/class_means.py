"""The mean embedding of each class over all ranks, in little memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import normalize

from partialfc.distributed.together import together
from partialfc.head.surroundings import world_of

Integers = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class Means:
    """Of the classes from `start` on: means [k, D] in float64, and of how many images each is [k]."""

    start: int
    means: Tensor
    images: Tensor


def class_means(
    embed: Callable[[Integers], tuple[Tensor, Integers]],
    labels: Integers,
    *,
    num_classes: int,
    embedding_size: int,
    device: torch.device,
    images_at_once: int,
    process_group: dist.ProcessGroup | None = None,
) -> Iterator[Means]:
    """The mean of the unit embeddings of each class's images; collective, and the same on every rank.

    Classes come in ascending order, some at a time, with about `images_at_once` images (at least those of one
    class); each rank embeds an equal share of these. So the memory is that of few rows, and the result that
    of a single process, but for rounding in float64. The mean of a class without images is 0, and that of a
    class with an embedding that is not finite is not finite either.

    embed: the indices of images [n], n may be 0 -> embeddings [m, D] of any norm and the indices that they
    belong to [m]; what cannot be read is left out. Its own errors are raised on every rank. labels: the class
    of each image [n]; negative ones count for nothing. process_group: the ranks that share the work, None for
    the default group, or this process alone where there is none.
    """
    world = world_of(process_group)
    known = np.flatnonzero(labels >= 0)
    in_order = known[np.argsort(labels[known], kind="stable")]
    ends = np.searchsorted(labels[in_order], np.arange(num_classes), side="right")
    for start, stop in _blocks(ends, images_at_once):
        first = ends[start - 1] if start else 0
        images = in_order[first : ends[stop - 1]]
        cuts = np.linspace(0, len(images), world.size + 1).astype(int)
        with together(world):
            embedded, indices = embed(images[cuts[world.rank] : cuts[world.rank + 1]])
        own = torch.from_numpy(labels[indices].astype(np.int64) - start).to(device)
        sums = torch.zeros(stop - start, embedding_size + 1, dtype=torch.float64, device=device)
        units = normalize(embedded.to(device, torch.float64), dim=1)
        sums.index_add_(0, own, torch.cat([units, units.new_ones(len(units), 1)], dim=1))
        sums = world.all_reduce_sum(sums)
        counts = sums[:, -1:]
        yield Means(start, sums[:, :-1] / counts.clamp(min=1), counts[:, 0].long())


def _blocks(ends: Integers, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of classes with about `size` images. ends [C]: the number of images up to each class's last."""
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + size, side="right")))
        stop = min(stop, start + size, len(ends))
        yield start, stop
        start = stop
