"""The length of a run in steps, and its learning rate."""

import math

from partialfc.config import Config
from partialfc.errors import ConfigError
from partialfc.training.schedule import Schedule


def total_steps(config: Config, samples: int) -> int:
    """Steps of the whole run on so many samples."""
    epoch_steps = samples / config.train.samples_per_step
    return config.train.steps or math.ceil((config.train.epochs or 0.0) * epoch_steps)


def build_schedule(config: Config, total_steps: int, epoch_steps: float) -> Schedule:
    """The learning rate's factor of its peak by step."""
    section = config.schedule
    warmup = section.warmup_steps or math.ceil((section.warmup_epochs or 0.0) * epoch_steps)
    if warmup > total_steps:
        raise ConfigError(
            f"the warm-up has {warmup} steps, but the run only {total_steps}: "
            "shorten schedule.warmup_epochs or warmup_steps, or train longer"
        )
    return Schedule(
        peak=1.0,
        total_steps=total_steps,
        warmup_steps=warmup,
        name=section.name,
        power=section.power,
        final_ratio=section.final_lr_ratio,
    )
