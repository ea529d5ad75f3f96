"""SubCenter: several centres to a class, with any margin."""

from torch import Tensor

from partialfc.head.arguments import whole
from partialfc.head.margins.base import Margin
from partialfc.head.margins.samples import Samples


class SubCenter(Margin):
    """Each class has k centres, and the nearest to a sample stands for the class.

    The class's cosine is the largest of its centres', cos(theta_j) = max over k of cos(theta_jk), and the
    gradient goes to that centre alone, of the target as of negatives. So a class whose images differ, or are
    partly of another class, is not pulled to one point. Deng et al. 2020, "Sub-center ArcFace" (ECCV), which
    is section 3.2 with equation 7 in the longer ArcFace (arXiv:1801.07698v4). `PartialFC.weight` is
    [C_l, k·D], a class's centres one after the other; classes are sampled, not centres.

    Args:
        k (int): How many centres a class has, at least 1. Default 3.
        base (Margin): What margin their cosines get, such as `ArcFace()`.

    Raises:
        ValueError: for another k, or a base that is no margin or has sub-centres itself.
    """

    def __init__(self, *, k: int = 3, base: Margin) -> None:
        if not isinstance(base, Margin) or isinstance(base, SubCenter):
            raise ValueError(f"base is {base!r}; it must be another partialfc Margin, such as ArcFace()")
        super().__init__(scale=base.scale)
        self.base = base
        self.sub_centers = whole("k", k, least=1)
        self.compiles = base.compiles
        self.normalises_centres = base.normalises_centres
        self.normalises_embeddings = base.normalises_embeddings
        self.bias = base.bias
        self.takes_class_margins = base.takes_class_margins
        self.class_margins_rule = base.class_margins_rule
        self.largest_class_margin = base.largest_class_margin

    @property
    def logit_bound(self) -> float:
        return self.base.logit_bound

    @property
    def reweights_negatives(self) -> bool:
        return self.base.reweights_negatives

    def update(self, samples: Samples) -> None:
        self.base.update(samples)

    def target(self, samples: Samples) -> Tensor:
        return self.base.target(samples)

    def prepare(self, samples: Samples) -> Tensor | None:
        return self.base.prepare(samples)

    def negatives(self, cos: Tensor, samples: Samples) -> Tensor:
        return self.base.negatives(cos, samples)

    def regulariser(self, samples: Samples) -> Tensor | None:
        return self.base.regulariser(samples)

    def extra_repr(self) -> str:
        return f"k={self.sub_centers}"
