"""What every margin is, and what families of margins share."""

import torch
from torch import Tensor, nn

from partialfc.head.arguments import above

STRAIGHT_THROUGH = "straight_through"
EXACT = "exact"


class Margin(nn.Module):
    """How the logits of N samples follow from their cosines. A subclass must define `target` alone.

    Methods are written forward only: autograd finds their derivatives, which costs nothing for the N numbers
    of `target`. The loop over classes knows margins only through `negatives`.

    A margin may keep state, such as running averages, in buffers, and move it in `update`. That is given the
    statistics of the global batch, which are equal on every rank, so the state stays equal on every rank.
    Parameters would get no gradient, and the head refuses them.

    Args:
        scale (float): What cosines are multiplied by; above 0.

    Attributes:
        scale (float): The same.
        compiles (bool): Whether `target` may be compiled for an accelerator: a function of its arguments
            alone, of a margin without buffers and `regulariser`. Default False: it runs step by step.
    """

    compiles = False

    def __init__(self, *, scale: float) -> None:
        super().__init__()
        self.scale = above("scale", scale, 0.0)

    @property
    def logit_bound(self) -> float:
        """No logit exceeds this in any state, so the softmax needs no running maximum; `scale` by default.

        The head tries `negatives` over all cosines when it is built, and refuses a margin that exceeds it. A
        later state that does by more than some 28 (100 in float64) makes the loss infinite.
        """
        return self.scale

    def update(self, cos: Tensor, norm: Tensor) -> None:
        """Move the state, before the logits of a training step are computed; there is none by default.

        Args:
            cos (Tensor): [N], the cosine of each sample of the global batch to its own centre.
            norm (Tensor): [N], the norm of its embedding.
        """

    def target(self, cos: Tensor, norm: Tensor) -> Tensor:
        """The logits of the samples' own classes, a differentiable function.

        Args:
            cos (Tensor): [N], the cosine of each sample to its own centre.
            norm (Tensor): [N], the norm of its embedding.

        Returns:
            Tensor: [N], none above `logit_bound`.
        """
        raise NotImplementedError

    def negatives(self, cos: Tensor, target_cos: Tensor) -> Tensor:
        """The logits of other classes, a differentiable function of each element; scale · cos by default.

        Args:
            cos (Tensor): [N, k], the cosine of each sample to each of k centres.
            target_cos (Tensor): [N], its cosine to its own centre.

        Returns:
            Tensor: [N, k], none above `logit_bound`.
        """
        return self.scale * cos

    def regulariser(self, norm: Tensor) -> Tensor | None:
        """A term for each sample that is added to its loss, a differentiable function; none by default.

        Args:
            norm (Tensor): [N], the norm of each embedding.

        Returns:
            Tensor | None: [N], or None for no term.
        """
        return None

    @property
    def reweights_negatives(self) -> bool:
        """Whether `negatives` is the subclass's own, and not scale · cos."""
        return type(self).negatives is not Margin.negatives


def sine(cos: Tensor) -> Tensor:
    """sin(theta) >= 0 of cos(theta) in [-1, 1], with derivative 0 instead of infinity at +-1."""
    square = (1.0 - cos) * (1.0 + cos)
    inside = square > 0.0
    return torch.where(inside, torch.where(inside, square, 1.0).sqrt(), 0.0)
