"""The factor on all gradients that wait for a step, where a torch.amp.GradScaler looks for gradients.

A GradScaler divides the `.grad` of an optimizer's parameters by its scale, and looks there for infinities.
The centres' gradient is never in memory as a whole, so `.grad` of one more parameter, a single number, stands
for it: what happens to the number happens to the gradient.
"""

import torch
from torch import Tensor

# What 1 is stored as: so little that the number adds nothing to the norm of other gradients, and still normal
# in float64 when it is divided by a scale.
UNIT = 2.0**-300


class CommonFactor:
    """What every waiting gradient is multiplied by: 1, until a GradScaler or a clipping changes it.

    parameter: a scalar for an optimizer's parameter group. Its `.grad` is None while nothing waits.
    """

    def __init__(self, device: torch.device) -> None:
        self.parameter = torch.zeros((), dtype=torch.float64, device=device, requires_grad=True)

    def cover(self, unsound: Tensor) -> None:
        """One more gradient waits; unsound []: 0, or NaN where it is not finite, the same on every rank."""
        parameter = self.parameter
        before = UNIT if parameter.grad is None else parameter.grad
        parameter.grad = unsound.to(parameter.dtype) + before

    def divide(self, scale: Tensor) -> None:
        """Divide it by scale [], which the gradients were multiplied by."""
        assert self.parameter.grad is not None
        self.parameter.grad = self.parameter.grad / scale

    def clear(self) -> None:
        """Nothing waits any more."""
        self.parameter.grad = None

    @property
    def value(self) -> Tensor:
        """The factor [], float64; NaN where a gradient is not finite."""
        grad = self.parameter.grad
        assert grad is not None
        return grad / UNIT
