"""CombinedMargin, and ArcFace, CosFace and NormalizedSoftmax, its special cases."""

import math

from torch import Tensor

from partialfc.head.arguments import at_least, one_of
from partialfc.head.margins.angles import angular, straight_through
from partialfc.head.margins.base import EXACT, STRAIGHT_THROUGH, Margin
from partialfc.head.margins.samples import Samples


class CombinedMargin(Margin):
    """Target logit scale·(cos(m1·theta + m2) - m3), all three margins combined.

    theta is the angle between the embedding and its centre. ArcFace, Deng et al. 2019 (arXiv:1801.07698),
    equation 4.

    Args:
        m1 (float): What the angle is multiplied by, at least 1, as in SphereFace. Default 1.
        m2 (float): What is added to the angle, in radians, in [0, pi), as in ArcFace. Default 0.
        m3 (float): What is taken from the cosine, in [0, 2), as in CosFace. Default 0.
        scale (float): What the result is multiplied by; above 0. Default 64.
        beyond_pi (str): What happens where the angle m1·theta + m2 passes pi, and its cosine would rise again
            and reward larger angles. "hard" (default): the value goes on as
            cos(theta) - max(m2·sin(m2), 1 + cos(theta_pi)), where theta_pi = (pi - m2)/m1, so it does not
            rise at pi; for m1 = 1 this is ArcFace's usual continuation. "easy": m1 and m2 apply only where
            cos(theta) > 0 and the angle is below pi, elsewhere neither does.
        margin_gradient (str): "exact" (default): the true derivative. At cos = +-1 exactly, where it is
            infinite for m2 > 0, the sine's derivative is taken as 0, to stay finite; along the unit sphere
            the gradient is 0 there anyway. "straight_through": the same value with the plain logit's
            derivative, `scale`, which is what published ArcFace code computes.

    Attributes:
        given_by_class (str | None): Which of m2 and m3 the `class_margins` of a head replace: the only one
            above 0; None where none or both are, and such a head refuses the margin.

    Raises:
        ValueError: for an argument of another type or out of its range.
    """

    compiles = True
    class_margins_rule = "they take the place of m2 or m3, so exactly one of these must be above 0"

    def __init__(
        self,
        m1: float = 1.0,
        m2: float = 0.0,
        m3: float = 0.0,
        *,
        scale: float = 64.0,
        beyond_pi: str = "hard",
        margin_gradient: str = EXACT,
    ) -> None:
        super().__init__(scale=scale)
        self.m1 = at_least("m1", m1, 1.0)
        self.m2 = at_least("m2", m2, 0.0, below=math.pi)
        self.m3 = at_least("m3", m3, 0.0, below=2.0)
        self.beyond_pi = one_of("beyond_pi", beyond_pi, ("hard", "easy"))
        self.margin_gradient = one_of("margin_gradient", margin_gradient, (EXACT, STRAIGHT_THROUGH))
        above_0 = [name for name, value in (("m2", self.m2), ("m3", self.m3)) if value > 0.0]
        self._let_classes_give(above_0[0] if len(above_0) == 1 else None)

    def target(self, samples: Samples) -> Tensor:
        cos = samples.cos
        m2 = self._of_samples("m2", samples)
        m3 = self._of_samples("m3", samples)
        value = angular(cos.clamp(-1.0, 1.0), m2, m1=self.m1, beyond_pi=self.beyond_pi) - m3
        if self.margin_gradient == STRAIGHT_THROUGH:
            value = straight_through(value, cos)
        return self.scale * value

    def _of_samples(self, name: str, samples: Samples) -> float | Tensor:
        """m2 or m3: [N] where it differs between classes."""
        if name == self.given_by_class and samples.class_margin is not None:
            return samples.class_margin
        value: float = getattr(self, name)
        return value

    def _let_classes_give(self, name: str | None) -> None:
        self.given_by_class = name
        self.takes_class_margins = name is not None
        self.largest_class_margin = 2.0 if name == "m3" else math.pi

    def extra_repr(self) -> str:
        return (
            f"m1={self.m1}, m2={self.m2}, m3={self.m3}, scale={self.scale}, beyond_pi={self.beyond_pi}, "
            f"margin_gradient={self.margin_gradient}"
        )


class ArcFace(CombinedMargin):
    """Target logit scale·cos(theta + margin). Deng et al. 2019 (arXiv:1801.07698), equation 3.

    Args:
        scale (float): Above 0. Default 64.
        margin (float): What is added to the angle, in radians, in [0, pi). Default 0.5. The
            `class_margins` of a head replace it.
        beyond_pi (str): "hard" (default) or "easy", see CombinedMargin.
        margin_gradient (str): "exact" (default) or "straight_through", see CombinedMargin.
    """

    def __init__(
        self,
        *,
        scale: float = 64.0,
        margin: float = 0.5,
        beyond_pi: str = "hard",
        margin_gradient: str = EXACT,
    ) -> None:
        margin = at_least("margin", margin, 0.0, below=math.pi)
        super().__init__(1.0, margin, 0.0, scale=scale, beyond_pi=beyond_pi, margin_gradient=margin_gradient)
        self._let_classes_give("m2")


class CosFace(CombinedMargin):
    """Target logit scale·(cos(theta) - margin). Wang et al. 2018 (arXiv:1801.09414), equation 4.

    Args:
        scale (float): Above 0. Default 64.
        margin (float): What is taken from the cosine, in [0, 2). Default 0.35. The `class_margins` of a
            head replace it.
        margin_gradient (str): "exact" (default) or "straight_through"; their derivative is the same here.
    """

    def __init__(self, *, scale: float = 64.0, margin: float = 0.35, margin_gradient: str = EXACT) -> None:
        margin = at_least("margin", margin, 0.0, below=2.0)
        super().__init__(1.0, 0.0, margin, scale=scale, margin_gradient=margin_gradient)
        self._let_classes_give("m3")


class NormalizedSoftmax(CombinedMargin):
    """No margin: target logit scale·cos(theta). NormFace, Wang et al. 2017 (arXiv:1704.06369), equation 6.

    Args:
        scale (float): Above 0. Default 64.
        margin_gradient (str): "exact" (default) or "straight_through"; their derivative is the same here.
    """

    class_margins_rule = ""

    def __init__(self, *, scale: float = 64.0, margin_gradient: str = EXACT) -> None:
        super().__init__(1.0, 0.0, 0.0, scale=scale, margin_gradient=margin_gradient)
