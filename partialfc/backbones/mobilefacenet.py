"""MobileFaceNet, with the parameter names of InsightFace's weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from partialfc.backbones.sizes import check_counts, check_images, check_positive, halved

LAST_CHANNELS = 512
STAGES = 4


class ConvUnit(nn.Module):
    """Convolution, BN and, unless `linear`, PReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        if not linear:
            self.layers.append(nn.PReLU(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class Bottleneck(nn.Module):
    """Widen to `inner` channels, one 3x3 depthwise convolution, narrow again."""

    def __init__(
        self, in_channels: int, out_channels: int, *, inner: int, stride: int, residual: bool
    ) -> None:
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            ConvUnit(in_channels, inner),
            ConvUnit(inner, inner, kernel=3, stride=stride, padding=1, groups=inner),
            ConvUnit(inner, out_channels, linear=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.residual else out


class Stage(nn.Module):
    """`count` residual bottlenecks of one shape."""

    def __init__(self, channels: int, count: int, *, inner: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(Bottleneck(channels, channels, inner=inner, stride=1, residual=True) for _ in range(count))
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class Embedding(nn.Module):
    """One weight per channel and position, then a projection: [B, 512, side, side] -> [B, D]."""

    def __init__(self, side: int, embedding_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvUnit(LAST_CHANNELS, LAST_CHANNELS, kernel=side, groups=LAST_CHANNELS, linear=True),
            nn.Flatten(),
            nn.Linear(LAST_CHANNELS, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class MobileFaceNet(nn.Module):
    """images [B, channels, image_size, image_size] -> embeddings [B, D], not normalised.

    Chen et al. 2018 (arXiv:1804.07573), in InsightFace's widened form: `scale` multiplies the channels
    and `blocks` counts the units of the four stages; a single unit in the first one is a grouped
    convolution, more are bottlenecks. scale=4, blocks=(2, 8, 12, 4) is InsightFace's "mbf_large".
    Under autocast the last convolutions and the embedding layer run in the dtype of their weights.
    """

    def __init__(
        self,
        *,
        embedding_size: int,
        image_size: int = 112,
        channels: int = 3,
        blocks: Sequence[int] = (1, 4, 6, 2),
        scale: int = 2,
    ) -> None:
        super().__init__()
        check_positive(embedding_size=embedding_size, image_size=image_size, channels=channels, scale=scale)
        check_counts("blocks", blocks, least=1, length=STAGES)
        self.channels = channels
        self.image_size = image_size

        narrow, wide = 64 * scale, 128 * scale
        first: nn.Module = (
            ConvUnit(narrow, narrow, kernel=3, padding=1, groups=64)
            if blocks[0] == 1
            else Stage(narrow, blocks[0], inner=128)
        )
        self.layers = nn.ModuleList(
            [
                ConvUnit(channels, narrow, kernel=3, stride=2, padding=1),
                first,
                Bottleneck(narrow, narrow, inner=128, stride=2, residual=False),
                Stage(narrow, blocks[1], inner=128),
                Bottleneck(narrow, wide, inner=256, stride=2, residual=False),
                Stage(wide, blocks[2], inner=256),
                Bottleneck(wide, wide, inner=512, stride=2, residual=False),
                Stage(wide, blocks[3], inner=256),
            ]
        )
        side = halved(image_size, STAGES)
        self.map_shape = (LAST_CHANNELS, side, side)
        self.conv_sep = ConvUnit(wide, LAST_CHANNELS)
        self.features = Embedding(side, embedding_size)

        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        return self.embed_map(self.feature_map(images))

    def feature_map(self, images: Tensor) -> Tensor:
        """images [B, channels, image_size, image_size] -> the last feature map [B, *map_shape]."""
        check_images(images, channels=self.channels, image_size=self.image_size)
        x = images
        for layer in self.layers:
            x = layer(x)
        with torch.autocast(x.device.type, enabled=False):
            features: Tensor = self.conv_sep(x.to(next(self.conv_sep.parameters()).dtype))
        return features

    def embed_map(self, features: Tensor) -> Tensor:
        """A feature map [B, *map_shape] -> embeddings [B, D]."""
        with torch.autocast(features.device.type, enabled=False):
            embeddings: Tensor = self.features(features.to(next(self.features.parameters()).dtype))
        return embeddings

    def checkpointed_blocks(self) -> list[nn.Module]:
        """The parts whose activations `backbone.checkpointing` drops: each unit with its shortcut."""
        return [module for module in self.layers.modules() if isinstance(module, Bottleneck)]
