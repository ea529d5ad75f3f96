"""What a run reports about itself: the numbers of a log line, and sentences for people."""

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from partialfc.metrics.watch import Values
from partialfc.training.run_state import RunState

ANGLE_BINS = 36  # of 5 degrees


class Measured:
    """What is logged about the last step alone; some of it is still on its way from the device.

    step, samples, learning_rates: the run's then; at: when that was, by `perf_counter`. watched: what the
    metrics measured.
    """

    def __init__(self, state: RunState, watched: Values, *, epoch_samples: int) -> None:
        """epoch_samples: of a whole epoch."""
        self.step, self.samples, self.at = state.step, state.samples, time.perf_counter()
        self.learning_rates = state.learning_rates
        self.watched = watched
        self._epoch = round(state.samples / epoch_samples, 4)
        self._centres = state.objective.taking_part

    def values(self) -> dict[str, Any]:
        """Waits until they are there."""
        angles = self.watched.angles()
        return {
            "epoch": self._epoch,
            "samples": self.samples,
            "lr": self.learning_rates["backbone"],
            "centres": self._centres,  # of this rank's shard, that took part
            "embedding_norm": self.watched.embedding_norm(),
            "target_angle_degrees": float(angles.mean()) if len(angles) else math.nan,
            "target_angle_histogram": np.histogram(angles, ANGLE_BINS, (0, 180))[0].tolist(),
        }


def summary(values: Mapping[str, Any], terms: Mapping[str, float]) -> str:
    """The most important numbers of a log line. terms: of the loss, by name."""
    told = ", ".join(f"{name} {value:.4f}" for name, value in terms.items())
    loss = f"loss {values['loss']:.4f}" + (f" ({told})" if told else "")
    return (
        f"epoch {values['epoch']:.2f}  {loss}  lr {values['lr']:.3g}  "
        f"{values['images_per_second']:.0f} images/s"
    )


def introduction(
    state: RunState, backbone: str, *, classes: int, images: int, ranks: int, steps: int, step_images: int
) -> str:
    """What the run is going to do. steps: of the whole run; step_images: images of each step."""
    parameters = sum(p.numel() for p in state.objective.backbone.parameters())
    done = f", resumed at step {state.step:,}" if state.step else ""
    return (
        f"{classes:,} classes, {images:,} images; {backbone} with {parameters:,} parameters; "
        f"{ranks} rank{'s' if ranks > 1 else ''} on {state.device.type}; "
        f"{steps:,} steps of {step_images} images{done}"
    )
