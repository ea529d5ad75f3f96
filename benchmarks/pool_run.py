"""One training of benchmarks/pool.py: a head or a class pool over very many classes of glyphs."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

import partialfc
from partialfc.backbones.convnet import ConvNet
from partialfc.data.images.augmentation import Augment, augment
from partialfc.data.images.codec import Pixels, decode, resize
from partialfc.data.images.normalise import normalise
from partialfc.data.loading.half_identities import HalfIdentities, become_features
from partialfc.data.loading.sampler import Order, Shuffled, keyed
from partialfc.data.pairs.files import read_pairs
from partialfc.data.sources.source import open_source
from partialfc.evaluation.verification import verify

SIZE = 24  # pixels
EMBEDDING_SIZE = 128
BATCH = 128
LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4
SCALE, MARGIN = 16.0, 0.3
AUGMENT = Augment(shift=0.06, scale=0.1, rotate=8)
AUGMENTATION = 1  # key of the seed
FARS = (1e-2, 1e-3)


@dataclass(frozen=True)
class Images:
    pixels: np.ndarray  # uint8 [n, SIZE, SIZE]
    labels: np.ndarray  # [n] int64


@dataclass(frozen=True)
class Variant:
    """What stands for the classes: a head that samples the part `rate`, or a pool of that part of them."""

    system: str  # "head" or "pool"
    rate: float


class Trainer(Protocol):
    order: Order

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor: ...

    def step(self) -> None: ...


class WithHead:
    """All images of a batch are classified by PartialFC."""

    def __init__(self, backbone: nn.Module, images: Images, classes: int, rate: float, seed: int) -> None:
        self.backbone = backbone
        margin = partialfc.CosFace(scale=SCALE, margin=MARGIN)
        self.head = partialfc.PartialFC(
            EMBEDDING_SIZE, classes, margin=margin, sample_rate=rate, seed=seed, compile=False
        )
        settings: dict[str, Any] = {"lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY}
        self.optimizer = partialfc.JointOptimizer(
            torch.optim.SGD(backbone.parameters(), **settings), partialfc.RowSGD(self.head, **settings)
        )
        self.order: Order = Shuffled(len(images.labels), seed=seed)

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return self.head(self.backbone(inputs), labels)  # type: ignore[no-any-return]

    def step(self) -> None:
        self.optimizer.step()


class WithPool:
    """Of a batch a quarter becomes features, and the rest is classified by the pool."""

    def __init__(self, backbone: nn.Module, images: Images, classes: int, rate: float, seed: int) -> None:
        self.backbone = backbone
        margin = partialfc.CosFace(scale=SCALE, margin=MARGIN)
        size = round(rate * classes)
        self.pool = partialfc.DynamicClassPool(EMBEDDING_SIZE, size, margin=margin, seed=seed, compile=False)
        self.gallery = partialfc.GalleryNetwork(backbone)
        self.optimizer = torch.optim.SGD(
            backbone.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        self.order: Order = HalfIdentities(images.labels, global_batch=BATCH, seed=seed)
        self.features = torch.from_numpy(become_features(0, BATCH))

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        rest = ~self.features
        self.pool.write(self.gallery(inputs[self.features]), labels[self.features])
        return self.pool(self.backbone(inputs[rest]), labels[rest])  # type: ignore[no-any-return]

    def step(self) -> None:
        self.optimizer.step()
        self.gallery.follow(self.backbone)


def run(data: Path, cache: Path, variant: Variant, *, seed: int, steps: int) -> dict[str, Any]:
    """The figures of one training, on one thread. The seed is that of weights, order and augmentation."""
    torch.set_num_threads(1)
    images = load(data, cache)
    classes = int(images.labels.max()) + 1
    torch.manual_seed(seed)
    backbone = ConvNet(
        embedding_size=EMBEDDING_SIZE, image_size=SIZE, channels=1, widths=(16, 32), blocks=(1, 1)
    )
    trainer: Trainer = (WithHead if variant.system == "head" else WithPool)(
        backbone, images, classes, variant.rate, seed
    )
    started = time.process_time()
    last = train(trainer, images, steps=steps, seed=seed)
    seconds = time.process_time() - started
    return {
        "classes": classes,
        "rows": round(variant.rate * classes),
        "loss": round(last, 3),
        **scores(backbone.eval(), data),
        "cpu_seconds": round(seconds, 1),
    }


def train(trainer: Trainer, images: Images, *, steps: int, seed: int) -> float:
    """The mean loss of the last tenth of the steps."""
    recent = []
    for step in range(steps):
        rate = LR * schedule(step, steps)
        for group in trainer.optimizer.param_groups:  # type: ignore[attr-defined]
            group["lr"] = rate
        chosen = trainer.order.samples(step * BATCH, 0, BATCH)
        generator = keyed(seed, AUGMENTATION, step)
        augmented = [augment(images.pixels[index, :, :, None], generator, AUGMENT) for index in chosen]
        loss = trainer.loss(_tensor(augmented), torch.from_numpy(images.labels[chosen]))
        trainer.optimizer.zero_grad()  # type: ignore[attr-defined]
        loss.backward()  # type: ignore[no-untyped-call]
        trainer.step()
        recent.append(loss.item())
    return float(np.mean(recent[-max(1, steps // 10) :]))


def load(data: Path, cache: Path) -> Images:
    """The training images, decoded once and kept in `cache`."""
    source = open_source(data / "train.rec")
    labels = source.class_ids().astype(np.int64)
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.empty((len(labels), SIZE, SIZE), np.uint8)
        for index in range(len(labels)):
            pixels[index] = resize(decode(source.read(index)[0], channels=1), SIZE)[:, :, 0]
        np.save(cache, pixels)
    return Images(np.load(cache, mmap_mode="r"), labels)


def scores(backbone: nn.Module, data: Path) -> dict[str, Any]:
    """Of the pairs of characters that were not in training, in percent: accuracy by folds, TAR at FARs."""
    pairs = read_pairs(data / "pairs.bin")
    decoded = [resize(decode(image, channels=1), SIZE) for image in pairs.images]
    with torch.inference_mode():
        parts = [backbone(_tensor(decoded[at : at + 500])) for at in range(0, len(decoded), 500)]
        embeddings = torch.cat(parts)
    unit = nn.functional.normalize(embeddings.double(), dim=1).numpy()
    cosines = (unit[0::2] * unit[1::2]).sum(1)
    result = {"accuracy": round(100 * verify(cosines, pairs.same).accuracy, 3)}
    impostors = np.sort(cosines[~pairs.same])[::-1]
    for far in FARS:
        threshold = impostors[int(far * len(impostors))]
        result[f"tar_at_far_{far:g}"] = round(100 * float((cosines[pairs.same] > threshold).mean()), 3)
    return result


def schedule(step: int, steps: int) -> float:
    """Up within a twentieth of the steps, then down as a cosine."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return float(0.5 * (1 + np.cos(np.pi * (step - warmup) / (steps - warmup))))


def _tensor(pixels: list[Pixels]) -> Tensor:
    return normalise(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))
