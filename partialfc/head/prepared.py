"""What a margin prepares of the samples for its `negatives`, and how that depends on the target's cosine."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from partialfc.head.margins.base import Margin
from partialfc.head.margins.samples import Samples
from partialfc.head.pass_one import ByTarget


@dataclass(frozen=True, slots=True)
class Prepared:
    """value [..., N], None for nothing, as a function of the target's cosine [N] in autograd's graph."""

    value: Tensor | None
    _cos: Tensor
    _of_cos: Tensor | None

    def by_cos(self, sums: ByTarget) -> Tensor:
        """The sum of E · dlogit/dtarget_cos [N], by way of what was prepared too."""
        if self._of_cos is None or sums.prepared is None or not self._of_cos.requires_grad:
            return sums.cos
        (by_cos,) = torch.autograd.grad(self._of_cos, self._cos, sums.prepared)
        return sums.cos + by_cos


def prepare(margin: Margin, samples: Samples) -> Prepared:
    """What the margin prepares of the samples."""
    if not margin.reweights_negatives:
        return Prepared(None, samples.cos, None)
    cos = samples.cos.detach().requires_grad_()
    with torch.enable_grad():
        of_cos = margin.prepare(replace(samples, cos=cos))
    if of_cos is None:
        return Prepared(None, cos, None)
    if not isinstance(of_cos, Tensor) or of_cos.shape[-1:] != cos.shape:
        shape = list(of_cos.shape) if isinstance(of_cos, Tensor) else f"a {type(of_cos).__name__}"
        raise ValueError(
            f"{type(margin).__name__}.prepare returned {shape} for samples {list(cos.shape)}; it must return "
            "a tensor whose last size is theirs, or None"
        )
    return Prepared(of_cos.detach(), cos, of_cos)
