"""The class pool that stands for the head, and the gallery network that gives its features."""

import math
from functools import partial

import numpy as np
import torch
from torch import nn

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


def build_class_pool(backbone: nn.Module, parts: Parts) -> ClassPool:
    """`head.name: pool`. Raises ConfigError where it does not fit the classes, the batch or the ranks."""
    config, num_classes, world = parts.config, parts.num_classes, parts.world
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
    is_feature = become_features(*split_batch(batch, world.rank, world.size))
    if batch // world.size < FEWEST:
        raise ConfigError(
            f"train.batch_size is {batch} on {world.size} ranks: with head.name: pool every rank needs "
            f"{FEWEST} images at least, of which one may become a feature; raise it to "
            f"{4 * math.ceil(FEWEST * world.size / 4)}"
        )
    margin, compute_dtype = build_head_margin(section), getattr(torch, section.compute_dtype)
    try:
        pool = DynamicClassPool(
            config.backbone.embedding_size,
            size,
            margin=margin,
            hard_negatives=section.pool.hard_negatives,
            weight=section.pool.weight,
            shard=section.pool.shard,
            feature_dtype=getattr(torch, section.weight_dtype),
            compute_dtype=compute_dtype,
            seed=config.run.seed,
            compile=section.compile,
            device=parts.device,
        )
    except ValueError as error:
        raise ConfigError(f"head: {error}") from error
    gallery = GalleryNetwork(backbone, momentum=section.pool.momentum)
    halves = Halves(np.flatnonzero(is_feature), np.flatnonzero(~is_feature), parts.device)
    return ClassPool(backbone, pool, gallery, halves, partial(margin_with, config))
