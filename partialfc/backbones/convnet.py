"""A small residual network for small images, shaped for speed on a CPU."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partialfc.backbones.sizes import check_counts, check_images, check_positive, halved

FLAT = 1e-5  # far below the variance of any picture, so that an image of one colour becomes zeros


class ResidualBlock(nn.Module):
    """relu(x + two 3x3 convolutions of x); [B, C, H, W] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_conv_bn(channels, channels, stride=1),
            nn.ReLU(inplace=True),
            *_conv_bn(channels, channels, stride=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.layers(x))


class ConvNet(nn.Module):
    """images [B, channels, image_size, image_size] -> embeddings [B, D], not normalised.

    Each image is shifted and scaled to mean 0 and deviation 1 first, so that its brightness and contrast do
    not matter. Every stage halves it and then runs its residual blocks: `widths` gives the channels of each
    stage, `blocks` its number of residual blocks. The first stage halves too, as full resolution costs more
    time on a CPU than it gains; the last feature map is flattened, not pooled, as characters differ in where
    their strokes are. Under autocast the embedding layer runs in the dtype of its weights.

    The defaults train fastest on a CPU with 24x24 images, channels_last and bf16 autocast.
    """

    def __init__(
        self,
        *,
        embedding_size: int,
        image_size: int = 112,
        channels: int = 3,
        widths: Sequence[int] = (64, 96),
        blocks: Sequence[int] = (1, 2),
    ) -> None:
        super().__init__()
        check_positive(embedding_size=embedding_size, image_size=image_size, channels=channels)
        check_counts("widths", widths, least=1)
        check_counts("blocks", blocks, least=0, length=len(widths))
        self.channels = channels
        self.image_size = image_size

        layers: list[nn.Module] = []
        before = channels
        for width, count in zip(widths, blocks, strict=True):
            layers += [*_conv_bn(before, width, stride=2), nn.ReLU(inplace=True)]
            layers += [ResidualBlock(width) for _ in range(count)]
            before = width
        side = halved(image_size, len(widths))
        self.map_shape = (before, side, side)
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(before * side**2, embedding_size, bias=False)
        self.features = nn.BatchNorm1d(embedding_size)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        return self.embed_map(self.feature_map(images))

    def feature_map(self, images: Tensor) -> Tensor:
        """images [B, channels, image_size, image_size] -> the last feature map [B, *map_shape]."""
        check_images(images, channels=self.channels, image_size=self.image_size)
        features: Tensor = self.layers(_standardised(images))
        return features

    def embed_map(self, features: Tensor) -> Tensor:
        """A feature map [B, *map_shape] -> embeddings [B, D]."""
        with torch.autocast(features.device.type, enabled=False):
            embeddings: Tensor = self.features(self.fc(features.flatten(1).to(self.fc.weight.dtype)))
        return embeddings


def _standardised(images: Tensor) -> Tensor:
    variance, mean = torch.var_mean(images, dim=(1, 2, 3), correction=0, keepdim=True)
    return (images - mean) * (variance + FLAT).rsqrt()


def _conv_bn(in_channels: int, out_channels: int, *, stride: int) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    return conv, nn.BatchNorm2d(out_channels)
