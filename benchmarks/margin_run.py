"""One training of benchmarks/margins.py: some classes of the glyphs are learned, others verified."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from margin_variants import Variant
from torch import Tensor

import partialfc
from partialfc.backbones.convnet import ConvNet
from partialfc.data.images.augmentation import Augment, augment
from partialfc.data.images.codec import Pixels, decode, resize
from partialfc.data.images.normalise import normalise
from partialfc.data.loading.identities import Identities
from partialfc.data.loading.sampler import keyed
from partialfc.data.sources.source import open_source
from partialfc.evaluation.verification import verify

SIZE = 24  # pixels
EMBEDDING_SIZE = 64
BATCH = 64
IMAGES_PER_IDENTITY = 4
LR = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
FAR = 1e-3
AUGMENT = Augment(shift=0.06, scale=0.1, rotate=8)
AUGMENTATION = 1  # key of the seed
SPLIT_SEED = PAIRS_SEED = 0  # the same classes and pairs in every run


@dataclass(frozen=True)
class Task:
    """What a run trains on, and how long: `steps` batches of `classes` classes; `unseen` others verify it."""

    data: Path
    classes: int
    unseen: int
    steps: int


@dataclass(frozen=True)
class Images:
    pixels: list[Pixels]  # uint8 [SIZE, SIZE, 1] each
    labels: np.ndarray  # [n] int64, from 0 on


def run(task: Task, variant: Variant, seed: int) -> dict[str, Any]:
    """The figures of one training, on one thread."""
    torch.set_num_threads(1)
    seen, unseen = load(task.data, task.classes, task.unseen)
    started = time.monotonic()
    backbone = train(seen, variant, steps=task.steps, seed=seed)
    seconds = time.monotonic() - started
    with torch.inference_mode():
        figures = scores(backbone.eval()(as_input(unseen.pixels)), unseen.labels)
    return {**figures, "seconds": round(seconds, 1)}


@lru_cache(maxsize=1)
def load(data: Path, classes: int, unseen: int) -> tuple[Images, Images]:
    """Classes drawn from `data/train.rec`, and others that are kept out of training."""
    source = open_source(data / "train.rec")
    if classes + unseen > source.num_classes:
        raise SystemExit(f"{data} has {source.num_classes} classes, not {classes} + {unseen}")
    place = np.full(source.num_classes, -1)
    chosen = np.random.default_rng(SPLIT_SEED).permutation(source.num_classes)[: classes + unseen]
    place[chosen] = np.arange(classes + unseen)
    read = [source.read(index) for index in np.flatnonzero(place[source.class_ids()] >= 0).tolist()]
    pixels = [resize(decode(data, channels=1), SIZE) for data, _ in read]
    labels = place[[label for _, label in read]]
    parts = [np.flatnonzero(labels < classes), np.flatnonzero(labels >= classes)]
    seen, others = (Images([pixels[i] for i in part.tolist()], labels[part]) for part in parts)
    return seen, Images(others.pixels, others.labels - classes)


def train(images: Images, variant: Variant, *, steps: int, seed: int) -> ConvNet:
    """The seed is that of the initial weights, the order, the augmentation and the sampling."""
    torch.manual_seed(seed)
    backbone = ConvNet(
        embedding_size=EMBEDDING_SIZE, image_size=SIZE, channels=1, widths=(16, 32), blocks=(1, 1)
    )
    sizes = np.bincount(images.labels)
    public = {name: getattr(partialfc, name) for name in partialfc.__all__}
    names: dict[str, Any] = {**public, "D": EMBEDDING_SIZE, "C": len(sizes), "sizes": sizes}
    options = {name: eval(value, names) for name, value in variant.head.items()}
    margin = eval(variant.margin, names)
    head = partialfc.PartialFC(EMBEDDING_SIZE, len(sizes), margin=margin, seed=seed, compile=False, **options)
    names["head"] = head
    losses = [(eval(call, names), weight) for call, weight in variant.losses.items()]
    settings: dict[str, Any] = {"lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY}
    optimizer = partialfc.JointOptimizer(
        torch.optim.SGD(backbone.parameters(), **settings), partialfc.RowSGD(head, **settings)
    )
    for factor, inputs, labels in batches(images, steps=steps, seed=seed):
        for group in optimizer.param_groups:
            group["lr"] = LR * factor
        embeddings = backbone(inputs)
        loss = head(embeddings, labels)
        for beside, weight in losses:
            loss = loss + weight * beside(embeddings, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return backbone


def batches(images: Images, *, steps: int, seed: int) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Of each step: what the learning rate is multiplied by, images [B, 1, SIZE, SIZE] and labels [B]."""
    order = Identities(images.labels, global_batch=BATCH, images_per_identity=IMAGES_PER_IDENTITY, seed=seed)
    for step in range(steps):
        chosen = order.samples(step * BATCH, 0, BATCH)
        generator = keyed(seed, AUGMENTATION, step)
        inputs = as_input([augment(images.pixels[index], generator, AUGMENT) for index in chosen])
        yield _schedule(step, steps), inputs, torch.from_numpy(images.labels[chosen])


def scores(embeddings: Tensor, labels: np.ndarray) -> dict[str, Any]:
    """embeddings [n, D], labels [n] -> `pair_scores` of their directions, under the names of the table."""
    units = torch.nn.functional.normalize(embeddings.double(), dim=1).numpy()
    found = pair_scores(units, units, labels)
    return {"tar_at_far_1e-3" if name == "tar" else name: value for name, value in found.items()}


def pair_scores(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Unit rows [n, D] of the same n images -> accuracy and TAR in percent, over the pairs of all of them.

    A pair is the earlier image of `first` and the later one of `second`. TAR: of all genuine pairs, at the
    threshold that accepts the share FAR of all impostor pairs. Accuracy: by 10 folds, of the genuine pairs
    and as many impostor pairs, the same in every run.
    """
    pairs = np.triu_indices(len(labels), 1)
    cosines = (first @ second.T)[pairs]
    same = labels[pairs[0]] == labels[pairs[1]]
    genuine, impostors = cosines[same], cosines[~same]
    accepted = int(FAR * len(impostors))
    threshold = np.partition(impostors, -accepted - 1)[-accepted - 1]  # accepted are those above it
    generator = np.random.default_rng(PAIRS_SEED)
    drawn = generator.choice(impostors, len(genuine), replace=False)
    order = generator.permutation(2 * len(genuine))
    of_both = np.arange(2 * len(genuine)) < len(genuine)
    accuracy = verify(np.concatenate([genuine, drawn])[order], of_both[order]).accuracy
    return {
        "accuracy": round(100 * accuracy, 3),
        "tar": round(100 * float((genuine > threshold).mean()), 3),
        "genuine_pairs": len(genuine),
        "impostor_pairs": len(impostors),
    }


def as_input(pixels: list[Pixels]) -> Tensor:
    """Pixels -> a backbone's input [n, 1, SIZE, SIZE]."""
    return normalise(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))


def _schedule(step: int, steps: int) -> float:
    """Up within a tenth of the steps, then down as a cosine."""
    warmup = max(1, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return float(0.5 * (1 + np.cos(np.pi * (step - warmup) / (steps - warmup))))
