"""The class pool that stands for the head, and the gallery network that gives its features."""

import math
from functools import partial

import numpy as np
import torch
from torch import nn

from partialfc.config import Config
from partialfc.config.pool import pool_size
from partialfc.data.loading.half_identities import become_features
from partialfc.data.loading.sampler import split_batch
from partialfc.errors import ConfigError
from partialfc.pool.class_pool import DynamicClassPool
from partialfc.pool.gallery import GalleryNetwork
from partialfc.training.builders.head import build_head_margin
from partialfc.training.builders.parts import Parts
from partialfc.training.builders.stages import margin_with
from partialfc.training.objectives.pool import ClassPool, Halves

FEWEST = 3  # images on a rank: two that are classified, for what is normalised over the batch


def fitting_size(config: Config, num_classes: int, world_size: int) -> int:
    """Q. Raises ConfigError where the pool does not fit the classes, the batch or the ranks."""
    section, batch = config.head, config.train.batch_size
    assert section.pool is not None
    size = pool_size(section.pool.size, num_classes)
    if size < batch // 4:
        raise ConfigError(
            f"head.pool.size is {section.pool.size:g}, of {num_classes:,} classes {size:,}, but a batch of "
            f"{batch} has {batch // 4} identities whose features need room: raise it, or lower "
            "train.batch_size"
        )
    if size < (section.pool.hard_negatives or 0):
        raise ConfigError(
            f"head.pool.hard_negatives is {section.pool.hard_negatives}; it must be at most the classes in "
            f"the pool, {size:,} (head.pool.size is {section.pool.size:g}, of {num_classes:,} classes): "
            "lower it, or raise head.pool.size"
        )
    if batch // world_size < FEWEST:
        raise ConfigError(
            f"train.batch_size is {batch} on {world_size} ranks: with head.name: pool every rank needs "
            f"{FEWEST} images at least, of which one may become a feature; raise it to "
            f"{4 * math.ceil(FEWEST * world_size / 4)}"
        )
    return size


def build_pool(config: Config, size: int, *, shard: bool, device: torch.device) -> DynamicClassPool:
    """An empty pool of `size` classes. Raises ConfigError for what it refuses."""
    section = config.head
    assert section.pool is not None
    try:
        return DynamicClassPool(
            config.backbone.embedding_size,
            size,
            margin=build_head_margin(section),
            hard_negatives=section.pool.hard_negatives,
            weight=section.pool.weight,
            shard=shard,
            feature_dtype=getattr(torch, section.weight_dtype),
            compute_dtype=getattr(torch, section.compute_dtype),
            seed=config.run.seed,
            compile=section.compile,
            device=device,
        )
    except ValueError as error:
        raise ConfigError(f"head: {error}") from error


def build_class_pool(backbone: nn.Module, parts: Parts) -> ClassPool:
    """`head.name: pool`. Raises ConfigError where it does not fit the classes, the batch or the ranks."""
    config, world, section = parts.config, parts.world, parts.config.head.pool
    assert section is not None
    size = fitting_size(config, parts.num_classes, world.size)
    is_feature = become_features(*split_batch(config.train.batch_size, world.rank, world.size))
    pool = build_pool(config, size, shard=section.shard, device=parts.device)
    gallery = GalleryNetwork(backbone, momentum=section.momentum)
    halves = Halves(np.flatnonzero(is_feature), np.flatnonzero(~is_feature), parts.device)
    return ClassPool(backbone, pool, gallery, halves, partial(margin_with, config))
