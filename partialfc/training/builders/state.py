"""What training changes, as it is before the first step: the network, the centres and their optimizers."""

import numpy as np
import torch

from partialfc.config import Config
from partialfc.data.sources.source import Labelled
from partialfc.distributed.world import World
from partialfc.training.builders.backbone import autocast_dtype, build_backbone_from
from partialfc.training.builders.class_margins import build_class_margins
from partialfc.training.builders.head import build_head, warn_of_low_lambda_g
from partialfc.training.builders.losses import build_losses, warn_of_few_pairs
from partialfc.training.builders.optimizers import build_backbone_optimizer, build_head_optimizer
from partialfc.training.loss_scale import LossScale
from partialfc.training.requirements import require_samples_to_normalise
from partialfc.training.run_state import RunState
from partialfc.training.sync_batchnorm import synchronised


def build_state(
    config: Config, source: Labelled, *, num_classes: int, world: World, device: torch.device
) -> RunState:
    """The same initial backbone on every rank, at any world size; sets torch's random seed for it.

    source: the training data, for margins that follow from the sizes of its classes.
    """
    torch.manual_seed(config.run.seed)
    data = config.data
    backbone = build_backbone_from(
        config.backbone, image_size=data.image_size, channels=data.channels, device=device
    )
    together = config.train.sync_batchnorm
    require_samples_to_normalise(
        backbone,
        config.backbone.name,
        batch_size=config.train.batch_size,
        ranks=1 if together else world.size,
    )
    if together:
        backbone = synchronised(backbone, world, device)
    head = build_head(
        config.head,
        embedding_size=config.backbone.embedding_size,
        num_classes=num_classes,
        seed=config.run.seed,
        device=device,
        class_margins=build_class_margins(config.head, source, num_classes),
    )
    optimizer = build_backbone_optimizer(config.optimizer, backbone)
    float16 = autocast_dtype(config.train.amp, device) == torch.float16
    loss_scale = LossScale(device, enabled=float16)
    if world.rank == 0:
        warn_of_low_lambda_g(config.head)
        warn_of_few_pairs(config, num_classes)
    losses = build_losses(config.losses, head)
    return RunState(backbone, optimizer, head, build_head_optimizer(config, head), losses, loss_scale, device)


def seed_rank(seed: int, rank: int) -> None:
    """Give each rank random numbers of its own, for dropout and the like, once the state is built.

    A resume at the same world size replaces them with those of the checkpoint.
    """
    sequence = np.random.SeedSequence((seed, rank))
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]) >> 1)
