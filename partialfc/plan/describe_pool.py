"""A plan of a class pool as text for people, or as plain values for programs."""

from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

from partialfc.plan.lines import communication_lines, line, rank_name, rank_names
from partialfc.plan.pool import PoolPlan
from partialfc.plan.units import show_bytes

SHOWN = {"order": "order of the classes", "gallery": "gallery network"}


def to_dict(plan: PoolPlan) -> dict[str, Any]:
    """Everything in the plan, in bytes and seconds, sums included."""
    values = asdict(plan)
    values["memory"]["total"] = plan.memory.total
    communication = plan.communication
    values["communication"] |= {
        name: getattr(communication, name) for name in ("sent", "seconds", "host_seconds")
    }
    return values | {"fits": plan.fits, "left": plan.limit - plan.memory.total}


def describe(plan: PoolPlan, *, gpus_given: bool = True) -> str:
    """The plan as lines of text. gpus_given=False: say that the number of GPUs is an assumption."""
    sections = (_setting(plan, gpus_given), _memory(plan), communication_lines(plan))
    return "\n\n".join("\n".join(section) for section in sections)


def _setting(plan: PoolPlan, gpus_given: bool) -> Iterator[str]:
    setting = plan.setting
    assumed = "" if gpus_given else " (assumed; --gpus N plans for N)"
    micro = f", {setting.accumulation:,} micro-batches a step" if setting.accumulation > 1 else ""
    yield (
        f"a pool of {setting.size:,} of {setting.classes:,} classes x {setting.embedding} on "
        f"{rank_names(plan)}{assumed}, batch {setting.batch:,} each{micro}"
    )
    several = f", {setting.sub_centers} of each class" if setting.sub_centers > 1 else ""
    yield f"{setting.weight_dtype} features{several}, {setting.compute_dtype} matrix products"
    here = "a part of them" if setting.together else "all of them"
    yield (
        f"of a batch {setting.written:,} images are written to the pool, the rest classified; each "
        f"{rank_name(plan)} has {here}: {setting.local_size:,} classes"
    )


def _memory(plan: PoolPlan) -> Iterator[str]:
    yield f"memory per {rank_name(plan)}"
    for field in fields(plan.memory):
        if field.name != "on_host":
            value = show_bytes(getattr(plan.memory, field.name))
            yield line(SHOWN.get(field.name, field.name.replace("_", " ")), value)
    left = plan.limit - plan.memory.total
    of = f"of {show_bytes(plan.limit)}"
    if plan.reserve:
        of += f", {show_bytes(plan.reserve)} of it for the backbone"
    verdict = "fits" if plan.fits else "DOES NOT FIT"
    yield line("the pool in all", show_bytes(plan.memory.total), f"{of}: {verdict}")
    if left > 0:
        yield line("left for the backbone and the rest", show_bytes(left))
    if plan.memory.on_host:
        yield line("of the host's memory", show_bytes(plan.memory.on_host), "for the order of the classes")
    yield line("checkpoint, all ranks", show_bytes(plan.checkpoint), "and the backbone's")
    if not plan.fits:
        yield "what makes it smaller: a lower head.pool.size, head.weight_dtype=bfloat16, and on several"
        yield "ranks head.pool.shard=true"
