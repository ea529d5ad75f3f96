"""What a run reports about itself: the numbers of a log line, and sentences for people."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from partialfc.metrics.head import target_angles
from partialfc.training.run_state import RunState

ANGLE_BINS = 36  # of 5 degrees


def measured(state: RunState, *, epoch_samples: int) -> dict[str, Any]:
    """What is logged about the last step, besides the interval's means. epoch_samples: of a whole epoch."""
    angles = target_angles(state.head).cpu().numpy()
    return {
        "epoch": round(state.samples / epoch_samples, 4),
        "samples": state.samples,
        "lr": state.optimizer.param_groups[0]["lr"],
        "centres": len(state.head.last_sample),  # of this rank's shard, that took part
        "embedding_norm": float(state.head.last_norm.mean()),
        "target_angle_degrees": float(angles.mean()),
        "target_angle_histogram": np.histogram(angles, ANGLE_BINS, (0, 180))[0].tolist(),
        "nonfinite_steps": state.nonfinite_steps,
        "overflow_steps": state.overflow_steps,
        "loss_scale": state.loss_scale.value,
    }


def summary(values: Mapping[str, Any]) -> str:
    """The most important numbers of a log line."""
    return (
        f"epoch {values['epoch']:.2f}  loss {values['loss']:.4f}  lr {values['lr']:.3g}  "
        f"{values['images_per_second']:.0f} images/s"
    )


def introduction(
    state: RunState, backbone: str, *, classes: int, images: int, ranks: int, steps: int, step_images: int
) -> str:
    """What the run is going to do. steps: of the whole run; step_images: images of each step."""
    parameters = sum(p.numel() for p in state.backbone.parameters())
    done = f", resumed at step {state.step:,}" if state.step else ""
    return (
        f"{classes:,} classes, {images:,} images; {backbone} with {parameters:,} parameters; "
        f"{ranks} rank{'s' if ranks > 1 else ''} on {state.device.type}; "
        f"{steps:,} steps of {step_images} images{done}"
    )
