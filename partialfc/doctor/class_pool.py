"""Builds backbone and class pool on this rank: do they fit its memory, and how long does a step compute?"""

from dataclasses import replace

import torch

from partialfc.config import Config
from partialfc.distributed.accelerator import is_accelerator
from partialfc.distributed.device import autocast_dtype
from partialfc.doctor.check import Check, Level, failed, first_line, green, red
from partialfc.doctor.devices import local_ranks
from partialfc.doctor.memory_fit import available, judge_memory
from partialfc.doctor.step_time import time_backbone, time_pool
from partialfc.doctor.training import SECONDS, Training, prepared_backbone
from partialfc.plan import PoolSetting
from partialfc.plan.pool_memory import pool_checkpoint_of
from partialfc.plan.units import show_seconds
from partialfc.training.builders.class_pool import build_pool, fitting_size
from partialfc.training.builders.optimizers import build_network_optimizer

ELEMENTS = 1 << 25  # in the features of a pool that is measured; the time is scaled to the job's


def examine_pool(
    config: Config, setting: PoolSetting, device: torch.device, *, quick: bool
) -> tuple[list[Check], Training | None]:
    """As `examine_training` of a head. The gallery's pass is taken for as fast as the backbone's forward."""
    try:
        room = available(device, ranks=1 if is_accelerator(device) else local_ranks())
        backbone = prepared_backbone(config, device)
    except Exception as error:
        return [failed("backbone", error)], None
    try:
        fitting_size(config, setting.classes, setting.gpus)
        lr_scale = {} if config.finetune is None else config.finetune.lr_scale
        optimizer = build_network_optimizer(config.optimizer, backbone, backbone, lr_scale)
        rows = max(setting.nearest, min(setting.local_size, ELEMENTS // setting.row_size))
        build_pool(config, setting.nearest, shard=False, device=device)  # a small one, to see that it can
    except Exception as error:
        return [failed("head", error)], None
    gradients = sum(p.nbytes for p in backbone.parameters() if p.requires_grad)
    parameters = sum(p.nbytes for p in backbone.parameters())
    kept = parameters + gradients * {"sgd": 1, "adamw": 2}[config.optimizer.name]  # the optimizer's moments
    training = Training(gradients=gradients, checkpoint=pool_checkpoint_of(setting) + kept)
    fits = judge_memory(setting, backbone=kept + gradients, available=room, with_activations=False)
    if quick or fits.level == Level.RED:
        return [fits], training
    classified = setting.batch - setting.written
    try:
        timed = time_backbone(
            backbone,
            optimizer,
            shape=(config.data.channels, config.data.image_size, config.data.image_size),
            batch=classified,
            device=device,
            amp=autocast_dtype(config.train.amp, device),
            seconds=SECONDS,
        )
        fits = judge_memory(setting, backbone=timed.bytes, available=room, with_activations=True)
        if fits.level == Level.RED:
            return [fits], training
        pool = build_pool(config, rows, shard=False, device=device)
        of_pool = time_pool(pool, samples=setting.samples, inside=setting.inside, seconds=SECONDS / 2)
        of_pool *= setting.local_size / rows
    except torch.OutOfMemoryError as error:
        remedy = "lower train.batch_size, and raise train.accumulation as much"
        return [red("memory", f"a step runs out of memory: {first_line(error)}", remedy)], training
    except Exception as error:
        return [fits, failed("step", error)], training
    of_gallery = (timed.seconds - timed.backward) * setting.written / classified
    parts = {"backbone": timed.seconds, "gallery": of_gallery, "pool": of_pool}
    micro = config.train.accumulation
    compute = micro * sum(parts.values())
    shown = ", ".join(f"{name} {show_seconds(micro * seconds)}" for name, seconds in parts.items())
    says = f"computes {show_seconds(compute)}: {shown}"
    return [fits, green("step", says)], replace(training, compute=compute, backward=timed.backward)
