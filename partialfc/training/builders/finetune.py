"""Fine-tuning: which parts of the backbone train, and the centres that a run begins with."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from partialfc.checkpoint import find_checkpoint
from partialfc.config import Config
from partialfc.config.finetune import MEANS, RANDOM
from partialfc.config.objective import has_head
from partialfc.data.sources.labelled import Labelled
from partialfc.data.sources.labels import out_of_range
from partialfc.distributed.together import together
from partialfc.distributed.world import World
from partialfc.errors import CheckpointError, ConfigError, LabelError
from partialfc.finetune.centres import begin_at_means, open_centres, take_over_centres
from partialfc.finetune.class_means import Means, class_means
from partialfc.finetune.freezing import freeze
from partialfc.finetune.lora import add_lora
from partialfc.head.partial_fc import PartialFC
from partialfc.training.builders.source_embeddings import SourceEmbeddings
from partialfc.training.objectives.objective import Objective

BATCHES = 8  # of images that each rank embeds between two exchanges of what it found

log = logging.getLogger(__name__)


def prepare_backbone(config: Config, backbone: nn.Module) -> None:
    """Freeze what `finetune` names, and add low-rank updates; nothing without the section.

    After whatever replaces modules, and before the optimizer. Raises ConfigError for patterns that match
    nothing, a rank that a layer is too small for, and where nothing is left that trains.
    """
    section = config.finetune
    if section is None:
        return
    freeze(backbone, section.freeze, key="finetune.freeze")
    if section.lora is not None:
        lora, key = section.lora, "finetune.lora.patterns"
        try:
            add_lora(backbone, lora.patterns, rank=lora.rank, alpha=lora.alpha, seed=config.run.seed, key=key)
        except ConfigError as error:
            raise ConfigError(f"finetune.{str(error).removeprefix('finetune.')}") from error
    trained = [p for p in backbone.parameters() if p.requires_grad]
    if not trained and (why := _why_no_centres(config)):
        raise ConfigError(
            f"finetune.freeze is [{', '.join(section.freeze)}], which leaves nothing to train: it names all "
            f"parameters of the backbone, and with {why} there are no centres that could move; freeze less"
        )
    log.info(
        "finetune: %d of the backbone's %d parameters train, with %s of %s numbers",
        *(len(trained), len([*backbone.parameters()])),
        *(f"{sum(p.numel() for p in each):,}" for each in (trained, backbone.parameters())),
    )


def _why_no_centres(config: Config) -> str | None:
    """The setting with which a run has no centres; None: it has some, which can train alone."""
    if config.head.name == "pool":
        return "head.name: pool"
    return None if has_head(config.objective) else "objective.alone: true"


def check_centres(config: Config) -> None:
    """On one process alone: raise what `begin_centres` would, as far as the other run shows it."""
    if config.finetune is None or config.finetune.head_from in (MEANS, RANDOM):
        return
    try:
        checkpoint = find_checkpoint(Path(config.finetune.head_from))
        open_centres(checkpoint, embedding_size=config.backbone.embedding_size)
    except CheckpointError as error:
        raise CheckpointError(f"finetune.head_from: {error}; or let it be {MEANS} or {RANDOM}") from error


def begin_centres(
    config: Config,
    objective: Objective,
    source: Labelled,
    world: World,
    device: torch.device,
    amp: torch.dtype | None,
) -> None:
    """Collective, before the first step: let centres begin where `finetune.head_from` says.

    amp: what the backbone's products run in; None: float32. Raises ConfigError or CheckpointError for a run
    whose centres cannot be taken over, and what reading the images raises.
    """
    section, head = config.finetune, objective.head
    if section is None or section.head_from == RANDOM:
        return
    assert head is not None, "the config asks for centres only where there are some"
    started = time.monotonic()
    if section.head_from == MEANS:
        count = begin_at_means(head, _means(config, head, objective.backbone, source, world, device, amp))
        where = "the means of their images"
    else:
        count = _take_over(section.head_from, head, source, world)
        where = f"the centres of {section.head_from}"
    if world.rank == 0:
        seconds, classes = time.monotonic() - started, head.shard.num_classes
        log.info("%d of %d classes begin at %s, after %.1f s", count, classes, where, seconds)


def _take_over(path: str, head: PartialFC, source: Labelled, world: World) -> int:
    with together(world):
        names = source.classes
        if names is None:
            raise ConfigError(
                f"finetune.head_from is {path}, but the classes of {source.origin} have no names to find "
                f"them by: let it be {MEANS}, or put a classes.txt beside it, with a name on each line"
            )
    try:
        return take_over_centres(head, names, Path(path))
    except (CheckpointError, ConfigError) as error:
        raise type(error)(f"finetune.head_from: {error}; or let it be {MEANS} or {RANDOM}") from error


def _means(
    config: Config,
    head: PartialFC,
    backbone: nn.Module,
    source: Labelled,
    world: World,
    device: torch.device,
    amp: torch.dtype | None,
) -> Iterator[Means]:
    with together(world):
        labels = source.class_ids()
        if (beyond := np.flatnonzero(labels >= head.shard.num_classes)).size:
            index = int(beyond[0])
            raise LabelError(out_of_range(int(labels[index]), source.name(index), head.shard.num_classes))
    batch_size = config.verification.batch_size
    if world.rank == 0:
        log.info("finetune.head_from is %s: embedding %s images", MEANS, f"{len(labels):,}")
    size = head.embedding_size
    return class_means(
        SourceEmbeddings(
            section=config.data,
            source=source,
            backbone=backbone,
            embedding_size=size,
            batch_size=batch_size,
            device=device,
            amp=amp,
        ),
        labels,
        num_classes=head.shard.num_classes,
        embedding_size=size,
        device=device,
        images_at_once=BATCHES * batch_size * world.size,
        process_group=world.group,
    )
