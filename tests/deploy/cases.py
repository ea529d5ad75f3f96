"""Networks that a checkpoint's own was edited into since."""

from torch import Tensor, nn


class Deeper(nn.Module):
    """`tests.train_cases.Tiny` with forty layers more."""

    def __init__(self, *, embedding_size: int, image_size: int, channels: int) -> None:
        super().__init__()
        more = [nn.Linear(embedding_size, embedding_size) for _ in range(40)]
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * image_size**2, 32),
            nn.PReLU(),
            nn.Linear(32, embedding_size),
            *more,
        )

    def forward(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.layers(images)
        return embeddings
