"""Pictures in memory, sound ones and troublesome ones, and plain loaders of them."""

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pytest
import torch

from partialfc.data.images.augmentation import Augment
from partialfc.data.images.codec import encode_png
from partialfc.data.loading.loader import Batch, Loader
from partialfc.data.loading.plain import build_loader
from partialfc.errors import RecordError

PLAIN = Augment(flip=False, shift=0.0, scale=0.0, rotate=0.0, fill=0)
VARIED = Augment(flip=True, shift=0.1, scale=0.1, rotate=10.0, fill=0)


@dataclass
class Pictures:
    """PNG images held in memory: image i is noise seeded by i, of class i modulo num_classes."""

    images: list[bytes]
    num_classes: int = 5

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> tuple[bytes, int]:
        return self.images[index], index % self.num_classes

    def name(self, index: int) -> str:
        return f"pictures/{index}.png"


@dataclass
class Trouble(Pictures):
    """Pictures with one sample, `bad`, that goes wrong in the way that `kind` says."""

    bad: int = 0
    kind: str = ""
    label: int = field(default=0)

    def read(self, index: int) -> tuple[bytes, int]:
        if index != self.bad:
            return super().read(index)
        match self.kind:
            case "image":
                return b"not an image", 0
            case "record":
                raise RecordError(f"train.rec record {index}: bad magic")
            case "os":
                raise OSError("device gone")
            case "label":
                return self.images[index], self.label
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "bus":
                os.kill(os.getpid(), signal.SIGBUS)
            case "exit":
                os._exit(3)
            case "hang":
                threading.Event().wait()
        raise AssertionError(self.kind)


@dataclass
class Unloadable(Pictures):
    """Cannot be opened again in a worker, as if its file were gone."""

    def __setstate__(self, state: object) -> None:
        raise FileNotFoundError("train.rec")


def noise(count: int, channels: int = 1) -> list[bytes]:
    return [
        encode_png(np.random.default_rng(index).integers(0, 256, (12, 12, channels), np.uint8))
        for index in range(count)
    ]


def build(source: Pictures, **changes: object) -> Loader:
    options = {"global_batch": 4, "seed": 1, "image_size": 8, "channels": 1, "augment": PLAIN}
    return build_loader(source, **(options | changes))


def take(loader: Iterator[Batch], count: int) -> list[Batch]:
    return list(islice(loader, count))


def joined(batches: list[Batch]) -> Batch:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def same(left: Batch, right: Batch) -> bool:
    return torch.equal(left[0], right[0]) and torch.equal(left[1], right[1])


def read_until_error(source: Pictures, workers: int, **changes: object) -> tuple[Exception, Loader]:
    before = set(multiprocessing.active_children())
    loader = build(source, workers=workers, **changes)
    with pytest.raises(Exception) as caught:
        take(loader, 100)
    assert set(multiprocessing.active_children()) <= before, "an error leaves no worker behind"
    return caught.value, loader
