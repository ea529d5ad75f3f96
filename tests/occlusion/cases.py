"""A small backbone without statistics of the batch, so that any world size computes the same."""

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
    return OcclusionNetwork(Plain(), **{"seed": 3, "hidden": 4, **options}).double()


def images(count=N):
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.rand(count, 1, SIZE, SIZE, generator=generator, dtype=torch.float64) - 1
