"""Builds the backbone and the head on this rank: do they fit its memory, and how long does a step compute?"""

from dataclasses import dataclass, replace

import torch
from torch import nn

from partialfc.backbones import with_feature_map
from partialfc.config import Config, DistillConfig, OcclusionConfig, PFEConfig
from partialfc.config.objective import has_head
from partialfc.distributed.accelerator import is_accelerator
from partialfc.distributed.device import autocast_dtype
from partialfc.distributed.world import World
from partialfc.doctor.check import Check, Level, failed, first_line, green, red
from partialfc.doctor.devices import local_ranks
from partialfc.doctor.memory_fit import available, judge_memory
from partialfc.doctor.step_time import BackboneTime, time_backbone, time_head
from partialfc.finetune.lora import lora_state
from partialfc.head.partial_fc import PartialFC
from partialfc.plan import Setting
from partialfc.plan.memory import stored_bytes
from partialfc.plan.units import show_seconds
from partialfc.training.builders.backbone import build_backbone_from, start_from
from partialfc.training.builders.class_values import read_class_margins, read_class_weights
from partialfc.training.builders.distill import build_teacher
from partialfc.training.builders.finetune import check_centres, prepare_backbone
from partialfc.training.builders.head import build_head
from partialfc.training.builders.occlusion import build_network
from partialfc.training.builders.optimizers import build_head_optimizer, build_network_optimizer

SECONDS = 6.0  # for the backbone, half of it for the head
# A head is measured that has at most so many elements in the centres that take part, and in all its centres;
# its time is scaled to the job's.
ELEMENTS = 1 << 25
STORED = 1 << 28
SMALL = 16  # classes of a head that is only built


@dataclass(frozen=True, slots=True)
class Training:
    """What was found about this rank's part of the training.

    gradients: bytes of the backbone's; checkpoint: bytes of a whole one, of all ranks. compute: seconds of a
    step; backward: seconds of a micro-batch's backward pass through the backbone; None where not measured.
    """

    gradients: int
    checkpoint: int
    compute: float | None = None
    backward: float | None = None


def prepared_backbone(config: Config, device: torch.device) -> nn.Module:
    """The backbone as a run begins with it; errors are those of its builders."""
    backbone = build_backbone_from(
        config.backbone,
        image_size=config.data.image_size,
        channels=config.data.channels,
        device=device,
        start=config.initial_weights,
    )
    prepare_backbone(config, backbone)
    return backbone


def examine_training(
    config: Config, setting: Setting, device: torch.device, *, quick: bool
) -> tuple[list[Check], Training | None]:
    """Build the backbone and, unless quick, measure steps on random images where they fit the memory."""
    try:
        room = available(device, ranks=1 if is_accelerator(device) else local_ranks())
        backbone = prepared_backbone(config, device)
    except Exception as error:
        return [failed("backbone", error)], None
    try:
        if isinstance(config.objective, DistillConfig):
            build_teacher(config.objective, config)
    except Exception as error:
        return [failed("teacher", error)], None
    try:
        if isinstance(config.objective, PFEConfig):
            start_from(
                backbone, config.backbone, config.objective.backbone_from, key="objective.backbone_from"
            )
            with_feature_map(backbone, use="a probabilistic embedding")
    except Exception as error:
        return [failed("backbone_from", error)], None
    try:
        if isinstance(config.objective, OcclusionConfig):
            build_network(config.objective, backbone, config, World(None, 0, 1))
    except Exception as error:
        return [failed("objective", error)], None
    try:
        check_centres(config)
        lr_scale = {} if config.finetune is None else config.finetune.lr_scale
        optimizer = build_network_optimizer(config.optimizer, backbone, backbone, lr_scale)
        if config.head.class_weights is not None:
            read_class_weights(config.head.class_weights, setting.classes)
        if config.head.class_margins is not None:
            read_class_margins(config.head.class_margins, setting.classes, margin=config.head.margin)
        build_head_optimizer(config, _build_head(config, SMALL, device))  # a small one, to see that it can
    except Exception as error:
        return [failed("head", error)], None
    parameters = sum(p.nbytes for p in backbone.parameters())
    gradients = sum(p.nbytes for p in backbone.parameters() if p.requires_grad)
    kept = parameters + gradients * {"sgd": 1, "adamw": 2}[config.optimizer.name]  # the optimizer's moments
    merged = sum(tensor.nbytes for tensor in lora_state(backbone).values())  # a checkpoint has them beside it
    training = Training(
        gradients=gradients, checkpoint=stored_bytes(setting, setting.classes) + kept + merged
    )
    fits = judge_memory(setting, backbone=kept + gradients, available=room, with_activations=False)
    if quick or fits.level == Level.RED:
        return [fits], training
    try:
        timed = _backbone(config, setting, backbone, optimizer, device)
        fits = judge_memory(setting, backbone=timed.bytes, available=room, with_activations=True)
        if fits.level == Level.RED:
            return [fits], training
        head = _head(config, setting, device) if has_head(config.objective) else 0.0
    except torch.OutOfMemoryError as error:
        remedy = "lower train.batch_size, and raise train.accumulation as much"
        return [red("memory", f"a step runs out of memory: {first_line(error)}", remedy)], training
    except Exception as error:
        return [fits, failed("step", error)], training
    micro = config.train.accumulation
    compute = micro * (timed.seconds + head)
    scaled = "" if timed.measured == setting.batch else f", scaled from {timed.measured} images"
    says = (
        f"computes {show_seconds(compute)}: backbone {show_seconds(micro * timed.seconds)}{scaled}, "
        f"head {show_seconds(micro * head)}"
    )
    return [fits, green("step", says)], replace(training, compute=compute, backward=timed.backward)


def _backbone(
    config: Config,
    setting: Setting,
    backbone: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> BackboneTime:
    return time_backbone(
        backbone,
        optimizer,
        shape=(config.data.channels, config.data.image_size, config.data.image_size),
        batch=setting.batch,
        device=device,
        amp=autocast_dtype(config.train.amp, device),
        seconds=SECONDS,
    )


def _head(config: Config, setting: Setting, device: torch.device) -> float:
    """Seconds of a micro-batch's step on one rank's shard."""
    size = setting.row_size
    classes = min(setting.local_classes, int(ELEMENTS / size / setting.sample_rate), STORED // size)
    head = _build_head(config, max(1, classes), device)
    optimizer = build_head_optimizer(config, head)
    seconds, rows = time_head(head, optimizer, samples=setting.samples, seconds=SECONDS / 2)
    return seconds * setting.rows / rows


def _build_head(config: Config, num_classes: int, device: torch.device) -> PartialFC:
    size, section = config.backbone.embedding_size, config.head.model_copy(update={"class_weights": None})
    return build_head(
        section, embedding_size=size, num_classes=num_classes, seed=config.run.seed, device=device
    )
