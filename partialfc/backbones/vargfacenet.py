"""VarGFaceNet: a network for phones, of grouped convolutions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from partialfc.backbones.sizes import OptionError, check_counts, check_images, check_positive, halved
from partialfc.backbones.vargnet import GROUP, DownBlock, NormalBlock, grouped_conv

STAGES = 3
LAST_CHANNELS, SQUEEZED_CHANNELS = 1024, 512


class Embedding(nn.Module):
    """A grouped convolution over the whole map, 1x1, FC: [B, 1024, side, side] -> [B, D]; figure 1 d."""

    def __init__(self, side: int, embedding_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            grouped_conv(LAST_CHANNELS, LAST_CHANNELS, kernel=side),
            nn.BatchNorm2d(LAST_CHANNELS),
            nn.Conv2d(LAST_CHANNELS, SQUEEZED_CHANNELS, 1, bias=False),
            nn.BatchNorm2d(SQUEEZED_CHANNELS),
            nn.PReLU(SQUEEZED_CHANNELS),
            nn.Flatten(),
            nn.Linear(SQUEEZED_CHANNELS, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class VarGFaceNet(nn.Module):
    """images [B, channels, image_size, image_size] -> embeddings [B, D], not normalised.

    Yan et al. 2019 (arXiv:1910.04985), table 1: a 3x3 convolution at full resolution, the head block, which
    halves it, and three stages, each of a block that halves and normal ones. `widths` gives the channels
    after the stem and after each stage, multiples of 8; `blocks` counts the blocks of the stages, the one
    that halves included. The default is the paper's network: 5.2 M parameters, 20 MB as the paper has it, and
    1.02 GFLOP for an image of 112x112.
    Under autocast the embedding layers run in the dtype of their weights.
    """

    def __init__(
        self,
        *,
        embedding_size: int,
        image_size: int = 112,
        channels: int = 3,
        widths: Sequence[int] = (40, 80, 160, 320),
        blocks: Sequence[int] = (3, 7, 4),
    ) -> None:
        super().__init__()
        check_positive(embedding_size=embedding_size, image_size=image_size, channels=channels)
        check_counts("widths", widths, least=GROUP, length=STAGES + 1)
        check_counts("blocks", blocks, least=1, length=STAGES)
        if uneven := [width for width in widths if width % GROUP]:
            raise OptionError("widths", widths, f"must be multiples of {GROUP}, and {uneven[0]} is none")
        self.channels = channels
        self.image_size = image_size

        stem, last = widths[0], widths[-1]
        self.stem = nn.Sequential(*_conv_bn_prelu(channels, stem, kernel=3))
        self.head = NormalBlock(stem, stem, stride=2, factor=1)
        widening = zip(widths, widths[1:], blocks, strict=False)
        self.stages = nn.Sequential(*(_stage(*each) for each in widening))
        self.last = nn.Sequential(*_conv_bn_prelu(last, LAST_CHANNELS, kernel=1))
        side = halved(image_size, STAGES + 1)
        self.map_shape = (LAST_CHANNELS, side, side)
        self.features = Embedding(side, embedding_size)

        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):  # by what enters: a group sees only its channels
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        return self.embed_map(self.feature_map(images))

    def feature_map(self, images: Tensor) -> Tensor:
        """images [B, channels, image_size, image_size] -> the last feature map [B, *map_shape]."""
        check_images(images, channels=self.channels, image_size=self.image_size)
        features: Tensor = self.last(self.stages(self.head(self.stem(images))))
        return features

    def embed_map(self, features: Tensor) -> Tensor:
        """A feature map [B, *map_shape] -> embeddings [B, D]."""
        with torch.autocast(features.device.type, enabled=False):
            embeddings: Tensor = self.features(features.to(next(self.features.parameters()).dtype))
        return embeddings

    def checkpointed_blocks(self) -> list[nn.Module]:
        """The parts whose activations `backbone.checkpointing` drops: each block with its shortcut."""
        return [module for module in self.modules() if isinstance(module, (NormalBlock, DownBlock))]


def _stage(in_channels: int, out_channels: int, count: int) -> nn.Sequential:
    rest = (NormalBlock(out_channels, out_channels) for _ in range(count - 1))
    return nn.Sequential(DownBlock(in_channels, out_channels), *rest)


def _conv_bn_prelu(in_channels: int, out_channels: int, *, kernel: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(out_channels), nn.PReLU(out_channels)
