"""Backbones and data for the training tests; named in configs as "tests.train_cases:Name"."""

import os
import random
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from partialfc.config import Config, dump_config, parse_config
from partialfc.data.images.codec import Pixels, encode_png
from partialfc.data.sources.insightface import write_source
from partialfc.data.sources.recordio import Header, RecordWriter, pack
from tests.disks import fill

CLASSES, PER_CLASS, SIZE = 20, 6, 8


class Tiny(nn.Module):
    """A network without BatchNorm, unless asked for: how a batch is divided changes only rounding."""

    def __init__(
        self,
        *,
        embedding_size: int,
        image_size: int,
        channels: int,
        double: bool = False,
        batchnorm: bool = False,
    ) -> None:
        super().__init__()
        dtype = torch.float64 if double else torch.float32
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * image_size**2, 32, dtype=dtype),
            *([nn.BatchNorm1d(32, dtype=dtype)] if batchnorm else []),
            nn.PReLU(dtype=dtype),
            nn.Linear(32, embedding_size, dtype=dtype),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.to(self.layers[1].weight.dtype))


class Normed(nn.Module):
    """With BatchNorm and dropout: running statistics and random numbers to resume."""

    def __init__(self, *, embedding_size: int, image_size: int, channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()
        )
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(8 * (image_size // 2) ** 2, embedding_size))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


class Interrupted(Normed):
    """Sends its own process a signal in the n-th training forward pass of this process."""

    def __init__(self, *, at: int, rank: int = 0, kill: bool = False, **size: Any) -> None:
        super().__init__(**size)
        self.count, self.at, self.rank, self.kill = 0, at, rank, kill

    def forward(self, images: Tensor) -> Tensor:
        self.count += self.training
        if self.count == self.at and self.rank == rank_here():
            os.kill(os.getpid(), signal.SIGKILL if self.kill else signal.SIGTERM)
        return super().forward(images)


class Mortal(Normed):
    """In each of the first `deaths` attempts of one torchrun, a rank is killed once both have stepped."""

    def __init__(self, *, deaths: int, **size: Any) -> None:
        super().__init__(**size)
        attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        chosen = random.Random(attempt)
        self.count, self.dies = 0, attempt < deaths and chosen.randrange(2) == rank_here()
        self.at = chosen.randrange(2, 5)

    def forward(self, images: Tensor) -> Tensor:
        self.count += self.training
        if self.dies and self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)


class Poisoned(Normed):
    """Gives NaN on one rank in the named training forward passes."""

    def __init__(self, *, steps: list[int], rank: int = 0, **size: Any) -> None:
        super().__init__(**size)
        self.count, self.steps, self.rank = 0, steps, rank

    def forward(self, images: Tensor) -> Tensor:
        self.count += self.training
        if self.training and self.count in self.steps and self.rank == rank_here():
            images = images * torch.nan
        return super().forward(images)


class Exploding(Normed):
    """Finite embeddings whose gradient is not."""

    def forward(self, images: Tensor) -> Tensor:
        embeddings = super().forward(images)
        return _InfiniteGradient.apply(embeddings)


class _InfiniteGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * torch.inf


class Loud(Normed):
    """Its gradient passes through float16 enlarged, so that a scale above some hundred overflows there.

    In its training forward pass number `stop_at` the process gets a SIGTERM.
    """

    def __init__(self, *, stop_at: int = 0, **size: Any) -> None:
        super().__init__(**size)
        self.count, self.stop_at = 0, stop_at

    def forward(self, images: Tensor) -> Tensor:
        self.count += self.training
        if self.training and self.count == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return _EnlargedGradient.apply(super().forward(images))


class _EnlargedGradient(torch.autograd.Function):
    FACTOR = 2.0**10

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        enlarged = (gradient.float() * _EnlargedGradient.FACTOR).half()
        return (enlarged.float() / _EnlargedGradient.FACTOR).to(gradient.dtype)


def rank_here() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def write_data(
    folder: Path, classes: int = CLASSES, *, encode: Callable[[Pixels], bytes] = encode_png
) -> Path:
    """A learnable set of grey pictures: each class a random pattern, each image some noise on it."""
    generator = np.random.default_rng(0)
    patterns = generator.integers(40, 216, (classes, SIZE, SIZE, 1))

    def samples():
        for label, pattern in enumerate(patterns):
            for _ in range(PER_CLASS):
                noise = generator.integers(-40, 40, pattern.shape)
                yield encode((pattern + noise).clip(0, 255).astype(np.uint8)), label

    folder.mkdir(exist_ok=True)
    path = folder / "train.rec"
    write_source(path, samples(), num_classes=classes, image_size=(SIZE, SIZE))
    return path


def write_class_records(path: Path, images: Sequence[tuple[float, bytes]], *, classes: int) -> None:
    """A .rec of images with these labels, from key 1, whose class records vouch for an equal share each."""
    end, share = 1 + len(images), len(images) // classes
    with RecordWriter(path) as writer:
        writer.write(0, pack(Header(2, (end, end + classes)), b""))
        for key, (label, image) in enumerate(images, start=1):
            writer.write(key, pack(Header(0, (float(label),), key), image))
        for number in range(classes):
            first = 1 + number * share
            writer.write(end + number, pack(Header(2, (first, first + share)), b""))


def small_config(folder: Path, *overrides: str, **sections: Any) -> Config:
    """A quick run on `write_data`'s set: 24 samples a step, 5 steps an epoch."""
    mapping: dict[str, Any] = {
        "run": {"dir": str(folder / "run")},
        "data": {"train": str(folder / "train.rec"), "image_size": SIZE, "channels": 1},
        "backbone": {"name": "tests.train_cases:Normed", "embedding_size": 16},
        "head": {"margin": {"name": "arcface", "scale": 16, "margin": 0.2}, "sample_rate": 0.5},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "schedule": {"name": "cosine", "warmup_steps": 2},
        "train": {"batch_size": 24, "steps": 12, "log_every": 1},
        "checkpoint": {"every_steps": 100},
        "metrics": {"port": None},
    }
    for name, section in sections.items():
        mapping[name] = mapping.get(name, {}) | section if isinstance(section, dict) else section
    return parse_config(mapping, overrides, "the test's config")


def saved_config(folder: Path, *overrides: str) -> Path:
    """The file of `small_config`, with its data beside it."""
    if not (folder / "train.rec").exists():
        write_data(folder)
    path = folder / "config.yaml"
    path.write_text(dump_config(small_config(folder, *overrides)))
    return path


class Filling(Normed):
    """Fills the disk of the run up in its third training forward pass; the run lies in `disk/run`."""

    def __init__(self, *, disk: str = "", **size: Any) -> None:
        super().__init__(**size)
        self.count, self.disk = 0, disk

    def forward(self, images: Tensor) -> Tensor:
        self.count += self.training
        if self.count == 3:
            fill(Path(self.disk))
        return super().forward(images)


class Hanging(Normed):
    """Rank 1 waits for ever in its third training pass, or until torchrun ends it.

    backward: in the pass back, when the ranks have agreed on the batch. stopped: the whole process stops.
    """

    def __init__(self, *, backward: bool = False, stopped: bool = False, **size: Any) -> None:
        super().__init__(**size)
        self.count, self.backward, self.stopped = 0, backward, stopped

    def forward(self, images: Tensor) -> Tensor:
        self.count += self.training
        hangs = self.count == 3 and rank_here() == 1
        if hangs:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # else torchrun waits 30 s before it kills
        if hangs and not self.backward:
            self.hang()
        embedded = super().forward(images)
        if hangs:
            embedded.register_hook(lambda gradient: self.hang())
        return embedded

    def hang(self) -> None:
        if self.stopped:
            os.kill(os.getpid(), signal.SIGSTOP)
        threading.Event().wait()


class Waiting(Normed):
    """Says that it is being built, and then waits within torch's C++, as for other ranks."""

    def __init__(self, **size: Any) -> None:
        super().__init__(**size)
        print("building", flush=True)
        store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        store.wait(["what nobody sets"])
