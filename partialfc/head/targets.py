"""The targets of a batch that lie in one rank's shard: their centres, and what else their classes have."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.distributed.world import World
from partialfc.head.kernels import elementwise, per_sample
from partialfc.head.rows import Rows
from partialfc.head.sampling import Indices
from partialfc.head.shard import ClassShard


@dataclass(frozen=True, slots=True)
class TargetsHere:
    """The T targets in a rank's shard, by ascending row."""

    rows: Indices  # [T] local rows
    samples_on_host: Indices  # [T] whose they are
    samples: Tensor  # [T] the same on the device
    centres: Tensor  # [T, D] of each class's S centres the one nearest to the sample, as the products want it
    nearest: Tensor | None  # [T] int32, which of the S that is; None for S = 1
    product: Tensor  # [T] with the unit embedding: the cosine, times the centre's norm where that counts
    centre_norm: Tensor | None  # [T] where it counts
    bias: Tensor | None  # [T] where there are any
    class_weight: Tensor | None  # [T] where there are any
    class_margin: Tensor | None  # [T] where there are any

    def told_to_all(self, world: World, like: Tensor) -> dict[str, Tensor]:
        """What each sample has to know of its own class, by name, each [N] as `like`; collective."""
        names = ("product", "centre_norm", "bias", "class_weight", "class_margin")
        here = {name: values for name in names if (values := getattr(self, name)) is not None}
        table = like.new_zeros(len(here), len(like))
        for of_samples, values in zip(table, here.values(), strict=True):
            of_samples[self.samples] = values
        return dict(zip(here, world.all_reduce_sum(table), strict=True))


def targets_here(shard: ClassShard, labels: Indices) -> tuple[Indices, Indices]:
    """Class ids [N] -> the samples [T] whose target lies in the shard, and its local row [T], ascending."""
    samples, rows = shard.locate(labels)
    order = np.argsort(rows, kind="stable")
    return samples[order], rows[order]


def targets_of_shard(
    unit: Tensor,
    samples: Indices,
    targets: Rows,
    *,
    class_weights: Tensor | None,
    class_margins: Tensor | None,
    fused: bool,
) -> TargetsHere:
    """Unit embeddings [N, D], which of them have their target here [T], the targets' rows -> the targets.

    class_weights and class_margins [C_l]: of the shard's classes; fused: as of a Softmax.
    """
    assert targets.rows is not None
    of_samples, kind, count = on_device(torch.from_numpy(samples), unit.device), targets.kind, targets.count
    out = unit.new_empty(count * kind.per_row, unit.shape[1], dtype=targets.dtype)
    centres, nearest = targets.chunk(0, count).used_centres(out, compiled=fused), None
    if kind.per_row == 1:
        product = per_sample.target_cosines(unit, of_samples, centres, compiled=fused)
    else:
        of_classes = centres.view(count, kind.per_row, unit.shape[1])
        product, nearest = (of_classes @ unit[of_samples][:, :, None]).squeeze(2).max(dim=1)
        centres = of_classes[torch.arange(count, device=unit.device), nearest]
        nearest = nearest.to(torch.int32)
    return TargetsHere(
        rows=targets.rows,
        samples_on_host=samples,
        samples=of_samples,
        centres=centres,
        nearest=nearest,
        product=product,
        centre_norm=None if kind.unit else centres.norm(dim=1).clamp_min(elementwise.EPSILON),
        bias=targets.biases(),
        class_weight=None if class_weights is None else class_weights[targets.index],
        class_margin=None if class_margins is None else class_margins[targets.index],
    )
