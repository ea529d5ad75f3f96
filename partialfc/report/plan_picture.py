"""The picture of a plan: memory and floor of a step by number of classes, a line for each number of ranks.

The ranks share the plan's own global batch, so that the lines compare the same training on more of them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from partialfc.plan import Plan, Setting, floor_of, memory_of
from partialfc.plan.units import show_bytes, show_seconds
from partialfc.report.figure import new_figure, save_picture

POINTS = 60
DECADES = 1.5  # on either side of the plan's own number of classes
USUAL_GPUS = (1, 8, 64)


def draw_plan(plan: Plan, output: Path) -> Path:
    """Write the PNG `output`, which is returned.

    Raises ConfigError where it cannot be written, MissingExtraError without matplotlib.
    """
    figure, (left, right) = new_figure(2, width=12, height=5)
    classes = _classes(plan.setting.classes)
    for colour, gpus in zip(("C0", "C1", "C2"), gpu_counts(plan.setting.gpus), strict=True):
        batch = -(-plan.setting.samples // gpus)
        settings = [replace(plan.setting, gpus=gpus, batch=batch, classes=count) for count in classes]
        memory = [memory_of(each).total for each in settings]
        floor = [_floor_seconds(plan, each) for each in settings]
        bold = 2.5 if gpus == plan.setting.gpus else 1.5
        for axes, values in ((left, memory), (right, floor)):
            axes.loglog(classes, values, color=colour, linewidth=bold, label=_ranks(plan.setting, gpus))
    _draw_limit(left, plan)
    for axes, value, shown in (
        (left, plan.memory.total, show_bytes(plan.memory.total)),
        (right, plan.floor.seconds, show_seconds(plan.floor.seconds)),
    ):
        axes.plot(plan.setting.classes, value, "o", color="black", zorder=5)
        axes.annotate(
            shown, (plan.setting.classes, value), xytext=(8, -14), textcoords="offset points", weight="bold"
        )
        axes.set_xlabel("classes")
        axes.xaxis.set_major_formatter(_short)
        axes.grid(which="major", alpha=0.3)
        axes.legend(loc="lower right")
    left.set(title=f"Memory of the head, per {_rank(plan.setting)}")
    left.yaxis.set_major_formatter(lambda value, _: show_bytes(value).replace(".00", "").replace(".0", ""))
    right.set(title=f"Floor of the head's step, {plan.setting.samples:,} samples")
    right.yaxis.set_major_formatter(lambda value, _: show_seconds(value).replace(".00", "").replace(".0", ""))
    figure.suptitle(_caption(plan), fontsize="medium")
    return save_picture(figure, output)


def gpu_counts(gpus: int) -> tuple[int, int, int]:
    """Three numbers of ranks, eight times apart, the plan's own among them."""
    if gpus in USUAL_GPUS:
        return USUAL_GPUS
    return (1, gpus, 8 * gpus) if gpus < 8 else (gpus // 8, gpus, 8 * gpus)


def _classes(middle: int) -> list[int]:
    low, high = np.log10(middle) - DECADES, np.log10(middle) + DECADES
    return sorted({max(2, int(count)) for count in np.logspace(low, high, POINTS)})


def _floor_seconds(plan: Plan, setting: Setting) -> float:
    speed = plan.speed
    return floor_of(setting, gemm_rate=speed.gemm_rate, memory_bandwidth=speed.memory_bandwidth).seconds


def _draw_limit(axes: Any, plan: Plan) -> None:
    axes.axhline(plan.room, color="C3", linestyle="--")
    axes.annotate(
        f"limit: {show_bytes(plan.room)}", (0, plan.room), xycoords=("axes fraction", "data"),
        xytext=(6, 4), textcoords="offset points", color="C3",
    )  # fmt: skip


def _short(value: float, _: object) -> str:
    for factor, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def _caption(plan: Plan) -> str:
    setting = plan.setting
    stored = "no" if setting.stored_momentum == "none" else setting.stored_momentum
    moments = "AdamW moments" if setting.optimizer == "adamw" else f"{stored} momentum"
    return (
        f"size {setting.embedding}, sample rate {setting.sample_rate:g}, {setting.weight_dtype} centres, "
        f"{moments}, {setting.compute_dtype} products"
    )


def _rank(setting: Setting) -> str:
    return "GPU" if setting.device == "cuda" else "process"


def _ranks(setting: Setting, count: int) -> str:
    plural = "" if count == 1 else "es" if setting.device == "cpu" else "s"
    return f"{count:,} {_rank(setting)}{plural}"
