"""What margins do to angles, in numbers: the logits of a sample for its own class and for another one.

All is divided by what multiplies the cosine in a plain logit (the scale, or the norm of the embedding), so
that margins of any scale fit one picture. Centres have norm 1. A margin whose logits depend on a norm, a
state or a draw is shown at values that its line names.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import partialfc
from partialfc.head.margins.base import Margin
from partialfc.head.margins.samples import Samples

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """A margin in a picture.

    family: what it is called. at: the values that it is shown at. make: the margin in that state. norm: of
    the embedding. bounded: whether its boundary is drawn; another line of the family may stand for it.
    """

    family: str
    at: str
    make: Callable[[], Margin]
    norm: float = 1.0
    bounded: bool = True

    @property
    def name(self) -> str:
        """As a legend has it."""
        return ", ".join(part for part in (self.family, self.at) if part)

    @property
    def reweights_negatives(self) -> bool:
        """Whether what it does is done to other classes' logits."""
        return self.make().reweights_negatives

    @torch.no_grad()
    def target(self, degrees: Numbers) -> Numbers:
        """Angles [n] to the own centre -> the own class's logit [n]."""
        margin = self.make()
        return margin.target(self._samples(degrees)).numpy() / self._factor(margin)

    @torch.no_grad()
    def negative(self, degrees: Numbers, *, target_degrees: Numbers) -> Numbers:
        """Angles [k] to another centre, and angles [n] to the own one -> the other class's logits [k, n]."""
        margin, samples = self.make(), self._samples(target_degrees)
        cos = _cosines(degrees)[:, None].expand(-1, len(samples.cos)).contiguous()
        logits = margin.negatives(cos, replace(samples, prepared=margin.prepare(samples)))
        return logits.numpy() / margin.scale

    def excess(self, own: Numbers, other: Numbers) -> Numbers:
        """By how much the own class's logit exceeds the other's [k, n], at angles own [n] and other [k]."""
        return self.target(own) - self.negative(other, target_degrees=own)

    def _samples(self, degrees: Numbers) -> Samples:
        cos = _cosines(degrees)
        ones = torch.ones_like(cos)
        return Samples(cos, self.norm * ones, centre_norm=ones, seed=0)

    def _factor(self, margin: Margin) -> float:
        return margin.scale if margin.normalises_embeddings else self.norm


def _cosines(degrees: Numbers) -> Tensor:
    return torch.cos(torch.deg2rad(torch.from_numpy(np.asarray(degrees, np.float64))))


def _adaface() -> Margin:
    """After batches whose norms have mean 20 and deviation 5."""
    margin = partialfc.AdaFace()
    margin.mean.fill_(20.0)
    margin.std.fill_(5.0)
    return margin


def _curricularface(t: float) -> Margin:
    margin = partialfc.CurricularFace()
    margin.t.fill_(t)
    return margin


def _magface() -> Margin:
    return partialfc.MagFace(lambda_g=35.0)


def _elastic(margin: float) -> Margin:
    """Where that margin was drawn."""
    return partialfc.ElasticFace(mean=margin, std=0.0)


# Every margin of the package; a new one is a line. SubCenter's logits are those of its base.
MARGINS: tuple[Shown, ...] = (
    Shown("softmax", "plain, modified, normalized", partialfc.NormalizedSoftmax),
    Shown("L-Softmax and SphereFace", "m = 4, lambda = 0", partialfc.LargeMarginSoftmax),
    Shown("SphereFace", "m = 4, lambda = 5", lambda: partialfc.SphereFace(lambda_base=0.0)),
    Shown("CosFace", "m = 0.35", partialfc.CosFace),
    Shown("ArcFace", "m = 0.5", partialfc.ArcFace),
    Shown("combined", "1, 0.3, 0.2", lambda: partialfc.CombinedMargin(1.0, 0.3, 0.2)),
    Shown("MagFace", "norm 10", _magface, norm=10.0),
    Shown("MagFace", "norm 110", _magface, norm=110.0),
    Shown("AdaFace", "norm 5 (z = -1)", _adaface, norm=4.98),
    Shown("AdaFace", "norm 20 (z = 0)", _adaface, norm=20.0, bounded=False),
    Shown("AdaFace", "norm 35 (z = 1)", _adaface, norm=35.02),
    Shown("ElasticFace", "0.4 drawn", lambda: _elastic(0.4), bounded=False),
    Shown("ElasticFace", "0.6 drawn", lambda: _elastic(0.6)),
    Shown("MV-Softmax", "t = 0.2", lambda: partialfc.MVSoftmax(partialfc.ArcFace())),
    Shown(
        "MV-Softmax",
        "adaptive",
        lambda: partialfc.MVSoftmax(partialfc.ArcFace(), adaptive=True),
        bounded=False,
    ),
    Shown("CurricularFace", "t = 0", lambda: _curricularface(0.0), bounded=False),
    Shown("CurricularFace", "t = 0.5", lambda: _curricularface(0.5)),
)
