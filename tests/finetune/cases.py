"""A network with every kind of layer that fine-tuning treats differently."""

import torch
from torch import Tensor, nn


class Mixed(nn.Module):
    """images [B, 1, 8, 8] -> [B, 5]: convolutions, one of them grouped, BatchNorm, dropout, linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), nn.Dropout(0.5))
        self.fc = nn.Linear(8 * 16, 5)

    def forward(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.fc(self.block(self.stem(images)).flatten(1))
        return embeddings


def mixed(seed: int = 0) -> Mixed:
    torch.manual_seed(seed)
    return Mixed()


def images(count: int = 6, seed: int = 1) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
