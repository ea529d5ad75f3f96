"""A run at a glance: a picture of its curves."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partialfc.errors import printable
from partialfc.evaluation.verification import roc, verify
from partialfc.report.figure import new_figure, save_picture
from partialfc.report.run_records import records_of
from partialfc.report.saved_scores import Scores

LOWEST_FAR = 1e-4


def draw_report(run_dir: Path, scores: Sequence[Scores], output: Path) -> Path:
    """Draw a run's metrics.jsonl, and its verifications' scores, into the PNG `output`, which is returned.

    Raises DataError where there is nothing to draw, ConfigError where it cannot be written, and
    MissingExtraError without matplotlib.
    """
    records = records_of(run_dir, "train")
    figure, (left, middle, right) = new_figure(3, width=15, height=4.5)
    _draw_loss(left, records)
    _draw_angles(middle, records)
    _draw_roc(right, scores)
    return save_picture(figure, output)


def _draw_loss(axes: Any, records: list[dict[str, Any]]) -> None:
    steps = [record["step"] for record in records]
    losses = [math.nan if record["loss"] is None else record["loss"] for record in records]  # nan: a gap
    axes.plot(steps, losses, color="C0")
    axes.set(title="Training loss", xlabel="step", ylabel="loss")
    if not any(loss < 0 for loss in losses):  # that of probabilistic embeddings may be
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def _draw_angles(axes: Any, records: list[dict[str, Any]]) -> None:
    chosen = [("start", 0), ("middle", len(records) // 2), ("end", len(records) - 1)]
    for (name, index), colour in zip(chosen, ("0.7", "C1", "C2"), strict=True):
        counts = np.array(records[index]["target_angle_histogram"], dtype=float)
        edges = np.linspace(0, 180, len(counts) + 1)
        label = f"{name} (step {records[index]['step']})"
        axes.stairs(counts / max(counts.sum(), 1), edges, fill=True, alpha=0.5, color=colour, label=label)
    axes.set(title="Angle between embedding and its own centre", xlabel="degrees", ylabel="share of samples")
    axes.set_xlim(0, 120)
    if any(any(records[index]["target_angle_histogram"]) for _, index in chosen):
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no centres", transform=axes.transAxes, ha="center")


def _draw_roc(axes: Any, saved: Sequence[Scores]) -> None:
    for each in saved:
        far, tar, _ = roc(each.scores, each.same)
        accuracy = verify(each.scores, each.same, folds=each.folds).accuracy
        name = printable(each.name).replace("$", r"\$")  # between two of which is mathematics
        which = "before training" if each.step == 0 else f"step {each.step}"
        style = "--" if each.step == 0 else "-"
        axes.plot(far, tar, style, drawstyle="steps-post", label=f"{name}, {which}: {accuracy:.1%} of pairs")
    axes.set_xscale("log")
    axes.set(title="Verification of unseen classes", xlabel="false accept rate", ylabel="true accept rate")
    axes.set_xlim(LOWEST_FAR, 1)
    axes.set_ylim(0, 1.01)
    axes.grid(alpha=0.3)
    if saved:
        axes.legend(loc="lower right")
    else:
        axes.text(0.5, 0.5, "no verification set", transform=axes.transAxes, ha="center")
