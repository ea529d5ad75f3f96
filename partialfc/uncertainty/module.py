"""The network of probabilistic embeddings: a frozen backbone, and the two layers that say how sure it is."""

import math
from typing import Self

import torch
from torch import Tensor, nn

from partialfc.backbones import FeatureMapBackbone, with_feature_map
from partialfc.head.arguments import whole
from partialfc.losses.geometry import unit

FIRST_VARIANCE = 512 * math.exp(-7.0)  # of all dimensions together: the reference code's, for its D of 512
FIRST_SCALE = 1e-4  # so that all sigmas begin almost equal
SMALLEST_VARIANCE = 1e-6
BATCHNORM = {"eps": 1e-3, "momentum": 5e-3}  # slow: the features are those of a backbone that stays


class UncertaintyModule(nn.Module):
    """A feature map [B, ...] of F numbers each -> the logarithms of variances [B, D], log sigma^2.

    Fully connected, BN, ReLU, fully connected, BN without weights, then one scale and one shift for all
    dimensions, and a smallest variance of 1e-6. Shi and Jain 2019 (arXiv:1904.09658), section 4.3: two fully
    connected layers on what the bottleneck layer gets; the rest as in the authors' code, whose first
    sigma^2 of exp(-7) for 512 dimensions is kept in sum for other D. It computes in the dtype of its
    weights.

    Args:
        features (int): F, how many numbers a feature map has.
        embedding_size (int): D.

    Raises:
        ValueError: for sizes that are no whole numbers of at least 1.
    """

    def __init__(self, features: int, embedding_size: int) -> None:
        super().__init__()
        features, size = (
            whole("features", features, least=1),
            whole("embedding_size", embedding_size, least=1),
        )
        self.fc1 = nn.Linear(features, size, bias=False)
        self.bn1 = nn.BatchNorm1d(size, **BATCHNORM)  # type: ignore[arg-type]
        self.fc2 = nn.Linear(size, size, bias=False)
        self.bn2 = nn.BatchNorm1d(size, affine=False, **BATCHNORM)  # type: ignore[arg-type]
        self.scale = nn.Parameter(torch.tensor(FIRST_SCALE))
        self.shift = nn.Parameter(torch.tensor(0.0))  # from the first variance, so that decay goes back to it
        self.first = math.log(FIRST_VARIANCE / size)

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            x = features.flatten(1).to(self.fc1.weight.dtype)
            x = self.bn2(self.fc2(torch.relu(self.bn1(self.fc1(x)))))
            log_variance = self.scale * x + (self.shift + self.first)
            return torch.logaddexp(log_variance, log_variance.new_full((), math.log(SMALLEST_VARIANCE)))


class ProbabilisticEmbedding(nn.Module):
    """images [B, channels, image_size, image_size] -> Gaussians [B, 2D]: unit means, then log variances.

    The backbone is frozen: it stays in evaluation mode, and gets no gradient. `split` divides what it gives,
    `mutual_likelihood` compares, `fuse` unites, `confidence` is the quality of an image. What says sigma is
    float64 for a backbone in float64, else float32.

    Args:
        backbone (nn.Module): With its last feature map, see `partialfc.backbones.with_feature_map`.
        embedding_size (int): D, of the backbone's embeddings.

    Raises:
        ConfigError: for a backbone that does not show its feature map.
    """

    def __init__(self, backbone: nn.Module, embedding_size: int) -> None:
        super().__init__()
        features = math.prod(self._in_two_parts(backbone).map_shape)
        self.backbone = backbone.requires_grad_(False)
        is_wide = any(parameter.dtype == torch.float64 for parameter in backbone.parameters())
        self.uncertainty = UncertaintyModule(features, embedding_size).to(
            torch.float64 if is_wide else torch.float32
        )
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training mode for the two layers alone."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        parts = self._in_two_parts(self.backbone)
        with torch.no_grad():
            features = parts.feature_map(images)
            mean = unit(parts.embed_map(features))
        return torch.cat([mean, self.uncertainty(features)], 1)

    @staticmethod
    def _in_two_parts(backbone: nn.Module) -> FeatureMapBackbone:
        return with_feature_map(backbone, use="a probabilistic embedding")
