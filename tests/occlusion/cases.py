"""Small backbones with a feature map; without statistics of the batch any world size computes the same."""

import os
import signal

import torch
from torch import nn

from partialfc.occlusion import OcclusionNetwork

SIZE, SIDE, D, N = 8, 4, 5, 12


class Plain(nn.Module):
    map_shape = (3, SIDE, SIDE)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, stride=2, padding=1)
        self.fc = nn.Linear(3 * SIDE * SIDE, D)

    def forward(self, images):
        return self.embed_map(self.feature_map(images))

    def feature_map(self, images):
        return self.conv(images)

    def embed_map(self, features):
        return self.fc(features.flatten(1))


def network(**options):
    torch.manual_seed(0)
    return OcclusionNetwork(Plain(), **{"seed": 3, "hidden": 4, "share": 1.0, **options}).double()


def images(count=N):
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.rand(count, 1, SIZE, SIZE, generator=generator, dtype=torch.float64) - 1


class Mapped(Plain):
    """For configs; with BatchNorm and dropout unless `exact`. A SIGTERM comes in training pass `at`."""

    def __init__(self, *, embedding_size, image_size, channels, exact=False, at=0):
        nn.Module.__init__(self)
        side = image_size // 2
        self.map_shape = (6, side, side)
        self.conv = nn.Conv2d(channels, 6, 3, stride=2, padding=1)
        self.norm = nn.Identity() if exact else nn.Sequential(nn.BatchNorm2d(6), nn.Dropout(0.1))
        self.fc = nn.Linear(6 * side**2, embedding_size)
        self.count, self.at = 0, at
        self.to(torch.float64 if exact else torch.float32)

    def feature_map(self, images):
        self.count += self.training
        if self.training and self.count == self.at:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.norm(self.conv(images.to(self.fc.weight.dtype)))
