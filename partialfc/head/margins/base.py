"""What every margin is, and what families of margins share."""

import math

import torch
from torch import Tensor, nn

from partialfc.head.arguments import above
from partialfc.head.margins.samples import Samples

STRAIGHT_THROUGH = "straight_through"
EXACT = "exact"


class Margin(nn.Module):
    """How the logits of N samples follow from their cosines. A subclass must define `target` alone.

    Methods are written forward only: autograd finds their derivatives, which costs nothing for the N numbers
    of `target`. The loop over classes knows margins only through `negatives`, compiled with it.

    A margin may keep state, such as running averages, in buffers, and move it in `update`. That is given the
    statistics of the global batch, which are equal on every rank, so the state stays equal on every rank.
    Parameters would get no gradient, and the head refuses them.

    Args:
        scale (float): What cosines are multiplied by; above 0.

    Attributes:
        scale (float): The same.
        compiles (bool): Whether `target` may be compiled for an accelerator: a function of cosines, norms and
            class margins alone, of a margin without buffers and `regulariser` that normalises centres and
            embeddings. Default False: it runs step by step.
        normalises_centres (bool): Whether a centre counts by its direction alone. Default True. False: its
            norm is a factor of its logits.
        normalises_embeddings (bool): Whether an embedding does. Default True. False: its norm is a factor of
            its logits, which then have no bound, and `negatives` must be the default.
        bias (bool): Whether the head adds to each class's logit a bias that it trains with the centres, only
            where neither centres nor embeddings are normalised. Default False.
        takes_class_margins (bool): Whether `target` looks at `class_margin`. Default False: a head that is
            given `class_margins` refuses the margin.
        class_margins_rule (str): Where that depends on the margin's arguments, what the refusal says of them.
            Default empty.
        largest_class_margin (float): The end of the range of class margins: each is at least 0 and below it.
            Default pi, as of angles.
        sub_centers (int): How many centres each class has; its cosine is the largest of theirs. Default 1;
            see `SubCenter`.
    """

    compiles = False
    normalises_centres = True
    normalises_embeddings = True
    bias = False
    takes_class_margins = False
    class_margins_rule = ""
    largest_class_margin = math.pi
    sub_centers = 1

    def __init__(self, *, scale: float) -> None:
        super().__init__()
        self.scale = above("scale", scale, 0.0)

    @property
    def logit_bound(self) -> float:
        """No logit exceeds this in any state, so the softmax needs no running maximum; `scale` by default.

        Infinity: logits have no bound, and the softmax keeps a running maximum. So it is by default where
        norms are factors of the logits. The head tries `negatives` over all cosines when it is built, and
        refuses a margin that exceeds its bound. A later state that does by more than some 28 (100 in float64)
        makes the loss infinite.
        """
        return self.scale if self.normalises_centres and self.normalises_embeddings else math.inf

    def update(self, samples: Samples) -> None:
        """Move the state, before the logits of a training step are computed; there is none by default."""

    def target(self, samples: Samples) -> Tensor:
        """The logits of the samples' own classes.

        Returns:
            Tensor: [N], a differentiable function of `samples.cos`, `samples.norm` and `samples.centre_norm`,
            none above `logit_bound`.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no target(samples), as a margin must")

    def prepare(self, samples: Samples) -> Tensor | None:
        """What `negatives` needs of each sample beside its cosine, such as a threshold; nothing by default.

        It is computed once for all chunks of centres, and `negatives` finds it in `samples.prepared`.

        Returns:
            Tensor | None: [N] or [q, N], a differentiable function of `samples.cos`.
        """
        return None

    def negatives(self, cos: Tensor, samples: Samples) -> Tensor:
        """The logits of other classes, a differentiable function of each element; by default the plain ones.

        Args:
            cos (Tensor): [k, N], the cosine to each of k centres of each sample, so that what is there for
                each sample, such as `samples.cos`, fits as it is.
            samples (Samples): The same as for `target`, but for `classes` and draws, and with what `prepare`
                gave.

        Returns:
            Tensor: [k, N], differentiable in `cos`, `samples.cos` and `samples.prepared`, none above
            `logit_bound`.
        """
        return self.scale * cos

    def regulariser(self, samples: Samples) -> Tensor | None:
        """A term for each sample that is added to its loss, a function of `samples.norm`; none by default.

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
