"""When a verification or a checkpoint is due."""

import math


def is_due(
    *,
    every_steps: int | None,
    every_epochs: float | None,
    step: int,
    samples: int,
    samples_per_step: int,
    samples_per_epoch: int,
) -> bool:
    """Whether a multiple of the period ends in this step. Without a period it is one epoch.

    samples: how many the run has trained on when `step` is done.
    """
    if every_steps is not None:
        return step % every_steps == 0
    every = (every_epochs or 1.0) * samples_per_epoch
    return math.floor(samples / every) > math.floor((samples - samples_per_step) / every)
