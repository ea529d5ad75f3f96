"""The length of a run in steps, and its learning rate."""

import logging
import math

from partialfc.config import ScheduleConfig, TrainConfig
from partialfc.training.requirements import require_milestones_after_warmup, require_steps_for_warmup
from partialfc.training.schedule import Schedule

log = logging.getLogger(__name__)


def total_steps(section: TrainConfig, samples: int) -> int:
    """Steps of the whole run, where an epoch has `samples` samples."""
    epoch_steps = samples / section.samples_per_step
    return section.steps or math.ceil((section.epochs or 0.0) * epoch_steps)


def build_schedule(section: ScheduleConfig, *, total_steps: int, epoch_steps: float) -> Schedule:
    """By step, the factor that each peak learning rate is multiplied by.

    epoch_steps: steps of an epoch, which need not be a whole number.
    """
    warmup = _warmup(section, total_steps=total_steps, epoch_steps=epoch_steps)
    require_steps_for_warmup(warmup, total_steps)
    milestones = section.milestone_steps or tuple(
        math.ceil(each * epoch_steps) for each in section.milestone_epochs
    )
    require_milestones_after_warmup(milestones, warmup)
    late = [each for each in milestones if each >= total_steps]
    if late:
        log.warning(
            "schedule: the milestones at steps %s come after the run's last step, %d, so the learning rate "
            "does not fall there: the run is shorter than the schedule was made for",
            *(late, total_steps - 1),
        )
    return Schedule(
        peak=1.0,
        total_steps=total_steps,
        warmup_steps=warmup,
        name=section.name,
        power=section.power,
        final_ratio=section.final_lr_ratio,
        milestones=milestones,
        gamma=section.gamma,
    )


def _warmup(section: ScheduleConfig, *, total_steps: int, epoch_steps: float) -> int:
    """Steps of the warm-up: a broken one counts whole."""
    if section.warmup_ratio is not None:
        return math.ceil(section.warmup_ratio * total_steps - 1e-9)  # 0.1 of 30 is a little more than 3
    return section.warmup_steps or math.ceil((section.warmup_epochs or 0.0) * epoch_steps)
