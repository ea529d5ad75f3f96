"""Improved residual networks for recognition, with the parameter names of InsightFace's weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from partialfc.backbones.sizes import check_images, check_positive, check_share, halved

STAGE_CHANNELS = (64, 128, 256, 512)
INIT_STD = 0.1


class ResidualUnit(nn.Module):
    """BN, conv, BN, PReLU, conv, BN, plus the shortcut; [B, I, H, W] -> [B, O, H/stride, W/stride]."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        residual = self.bn3(self.conv2(residual))
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        return residual + shortcut


class IResNet(nn.Module):
    """images [B, channels, image_size, image_size] -> embeddings [B, D], not normalised.

    ArcFace, Deng et al. 2019 (arXiv:1801.07698), section 3.1: a residual network that keeps its first
    resolution for the stem, and flattens the last feature map into the embedding instead of pooling it.
    `blocks` counts the units of the four stages, each of which halves the image; `dropout` acts on the
    flattened features. Under autocast the embedding layer runs in the dtype of its weights.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        embedding_size: int,
        image_size: int = 112,
        channels: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive(embedding_size=embedding_size, image_size=image_size, channels=channels)
        check_share(dropout=dropout)
        assert len(blocks) == len(STAGE_CHANNELS)
        self.channels = channels
        self.image_size = image_size

        stem, last = STAGE_CHANNELS[0], STAGE_CHANNELS[-1]
        side = halved(image_size, len(blocks))
        self.map_shape = (last, side, side)
        self.conv1 = nn.Conv2d(channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.prelu = nn.PReLU(stem)
        self.layer1 = _stage(stem, STAGE_CHANNELS[0], blocks[0])
        self.layer2 = _stage(STAGE_CHANNELS[0], STAGE_CHANNELS[1], blocks[1])
        self.layer3 = _stage(STAGE_CHANNELS[1], STAGE_CHANNELS[2], blocks[2])
        self.layer4 = _stage(STAGE_CHANNELS[2], STAGE_CHANNELS[3], blocks[3])
        self.bn2 = nn.BatchNorm2d(last)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(last * side**2, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)
        self.features.weight.requires_grad_(False)  # a learned scale would undo the embedding's whitening

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=INIT_STD)

    def forward(self, images: Tensor) -> Tensor:
        return self.embed_map(self.feature_map(images))

    def feature_map(self, images: Tensor) -> Tensor:
        """images [B, channels, image_size, image_size] -> the last feature map [B, *map_shape]."""
        check_images(images, channels=self.channels, image_size=self.image_size)
        x = self.prelu(self.bn1(self.conv1(images)))
        features: Tensor = self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
        return features

    def embed_map(self, features: Tensor) -> Tensor:
        """A feature map [B, *map_shape] -> embeddings [B, D]."""
        x = self.dropout(features.flatten(1))
        with torch.autocast(x.device.type, enabled=False):
            embeddings: Tensor = self.features(self.fc(x.to(self.fc.weight.dtype)))
        return embeddings


def _stage(in_channels: int, out_channels: int, count: int) -> nn.Sequential:
    first = ResidualUnit(in_channels, out_channels, stride=2)
    rest = (ResidualUnit(out_channels, out_channels, stride=1) for _ in range(count - 1))
    return nn.Sequential(first, *rest)
