"""Softmax and ModifiedSoftmax: no margin, and logits that keep norms."""

from torch import Tensor

from partialfc.head.arguments import one_of
from partialfc.head.margins.base import Margin
from partialfc.head.margins.samples import Samples


class Softmax(Margin):
    """The plain softmax: logit ‖w‖·‖x‖·cos(theta), the inner product of the centre w and the embedding x.

    With a bias: ‖w‖·‖x‖·cos(theta) + b, the bias b of each class in `head.bias`. Logits have no fixed bound.
    Liu et al. 2017 (arXiv:1704.08063), equation 4.

    Args:
        bias (bool): Whether the head trains a bias with the centres. Default False.

    Raises:
        ValueError: for a bias that is no bool.
    """

    normalises_centres = False
    normalises_embeddings = False

    def __init__(self, *, bias: bool = False) -> None:
        super().__init__(scale=1.0)
        self.bias = one_of("bias", bias, (False, True))

    def target(self, samples: Samples) -> Tensor:
        return norms(samples) * samples.cos

    def extra_repr(self) -> str:
        return f"bias={self.bias}"


class ModifiedSoftmax(Margin):
    """Logit ‖x‖·cos(theta): centres count by their direction alone, the embedding's norm stays.

    Liu et al. 2017 (arXiv:1704.08063), equation 5, the modified softmax loss of SphereFace.
    """

    normalises_embeddings = False

    def __init__(self) -> None:
        super().__init__(scale=1.0)

    def target(self, samples: Samples) -> Tensor:
        return norms(samples) * samples.cos


def norms(samples: Samples) -> Tensor:
    """The factor of the logits' cosines [N]: the embedding's norm, times the centre's where that stays."""
    return samples.norm if samples.centre_norm is None else samples.norm * samples.centre_norm
