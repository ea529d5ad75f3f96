"""What training changes, as it is before the first step: the objective, its network and the optimizer."""

import numpy as np
import torch

from partialfc.config import Config
from partialfc.data.sources.labelled import Labelled
from partialfc.distributed.device import autocast_dtype
from partialfc.distributed.world import World
from partialfc.training.builders.backbone import build_backbone_from
from partialfc.training.builders.finetune import prepare_backbone
from partialfc.training.builders.objectives import build_objective
from partialfc.training.builders.optimizers import build_network_optimizer
from partialfc.training.builders.parts import Parts
from partialfc.training.loss_scale import LossScale
from partialfc.training.requirements import require_samples_to_normalise
from partialfc.training.run_state import RunState
from partialfc.training.sync_batchnorm import synchronised


def build_state(
    config: Config, source: Labelled, *, num_classes: int, world: World, device: torch.device
) -> RunState:
    """The same initial backbone on every rank, at any world size; sets torch's random seed for it.

    source: the training data, for what follows from its classes.
    """
    torch.manual_seed(config.run.seed)
    data = config.data
    backbone = build_backbone_from(
        config.backbone,
        image_size=data.image_size,
        channels=data.channels,
        device=device,
        start=config.initial_weights,
    )
    together = config.train.sync_batchnorm
    if together:
        backbone = synchronised(backbone, world, device)
    prepare_backbone(config, backbone)
    require_samples_to_normalise(
        backbone,
        config.backbone.name,
        batch_size=config.train.batch_size,
        ranks=1 if together else world.size,
    )
    parts = Parts(config, source, num_classes=num_classes, world=world, device=device)
    objective = build_objective(backbone, parts)
    lr_scale = {} if config.finetune is None else config.finetune.lr_scale
    optimizer = build_network_optimizer(config.optimizer, objective.network, backbone, lr_scale)
    float16 = autocast_dtype(config.train.amp, device) == torch.float16
    return RunState(objective, optimizer, LossScale(device, enabled=float16), device)


def seed_rank(seed: int, rank: int) -> None:
    """Give each rank random numbers of its own, for dropout and the like, once the state is built.

    A resume at the same world size replaces them with those of the checkpoint.
    """
    sequence = np.random.SeedSequence((seed, rank))
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]) >> 1)
