"""Parts of a step on the N samples, or the T targets among them: between matrix products and collectives.

They are small. On an accelerator each operation of them takes longer to start than to run, so there they are
compiled with the others; on a CPU they take no time that compiling would earn back.
"""

import torch
from torch import Tensor

from partialfc.head.kernels.compiled import Kernel
from partialfc.head.kernels.elementwise import inverse_norms, through_normalisation


@Kernel
def owed_since(row_steps: Tensor, index: Tensor | None, products: Tensor, start: int) -> Tensor:
    """What rows index [k] (None: all) owe [k, 4]; row_steps int32 [C_l], products [., 4] since `start`."""
    steps = row_steps if index is None else row_steps[index]
    return products[steps.long() - start]


@Kernel
def set_steps(row_steps: Tensor, index: Tensor | None, step: int, applies: Tensor) -> None:
    """Rows index [k] (None: all) of row_steps int32 [C_l] are at `step` now; applies [] False: as before."""
    before = row_steps if index is None else row_steps[index]
    steps = torch.where(applies, step, before)
    if index is None:
        row_steps.copy_(steps)
    else:
        row_steps[index] = steps


@Kernel
def target_cosines(unit: Tensor, samples: Tensor, centres: Tensor) -> Tensor:
    """Unit embeddings [N, D], the samples [T] whose centres [T, D] these are -> their cosines [T]."""
    return (unit[samples] * centres).sum(dim=1)


@Kernel
def weighted_targets(centres: Tensor, weights: Tensor, samples: Tensor) -> Tensor:
    """Unit centres of the targets [T, D] times the weights [N] of their samples [T]."""
    return centres * weights[samples, None]


@Kernel
def by_embeddings(
    by_unit: Tensor, embeddings: Tensor, unit: Tensor, by_norm: Tensor, world_size: int, normalises: bool
) -> Tensor:
    """The gradients by unit embeddings [V, D] and norms [V] -> that by the embeddings, times world_size.

    normalises False: all logits are multiples of the norm, and by_norm is what remains of its gradient.
    """
    by_direction = (
        through_normalisation(by_unit, embeddings) if normalises else by_unit * inverse_norms(embeddings)
    )
    return (by_direction + unit * by_norm[:, None]) * world_size


@Kernel
def weighted_embeddings(
    unit: Tensor, weights: Tensor, scale: Tensor, factor: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """unit [N, D] · weights [N] · scale [] · factor [], in dtype."""
    scale = scale if factor is None else (scale * factor).to(scale.dtype)
    return (unit * (weights * scale)[:, None]).to(dtype)


@Kernel
def put_targets(values: Tensor, columns: Tensor, samples: Tensor, start: int, new: Tensor) -> None:
    """values [k, N], of columns start..: new [N] of the samples [t] at their columns [N]."""
    values[columns[samples].long() - start, samples] = new[samples]


@Kernel
def unsound(of_samples: Tensor, scale: Tensor) -> Tensor:
    """of_samples [N], each 0 or NaN, and a factor [] on all -> 0, or NaN where one of them is not finite."""
    return of_samples.sum() + scale * 0.0
