"""A plan as text for people, or as plain values for programs."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from partialfc.plan import Plan
from partialfc.plan.lines import assumed, communication_lines, line, rank_name, rank_names
from partialfc.plan.options import option
from partialfc.plan.units import show_bytes, show_flops, show_seconds


def to_dict(plan: Plan) -> dict[str, Any]:
    """Everything in the plan, in bytes and seconds, sums included."""
    values = asdict(plan)
    values["memory"]["total"] = plan.memory.total
    communication = plan.communication
    values["communication"] |= {
        name: getattr(communication, name) for name in ("sent", "seconds", "host_seconds")
    }
    values["floor"]["seconds"] = plan.floor.seconds
    return values | {
        "fits": plan.fits,
        "left": plan.limit - plan.memory.total,
        "waits_for_hosts": plan.waits_for_hosts,
    }


def describe(plan: Plan, *, gpus_given: bool = True) -> str:
    """The plan as lines of text. gpus_given=False: say that the number of GPUs is an assumption."""
    sections = (
        _setting(plan, gpus_given),
        _memory(plan),
        _communication(plan),
        _floor(plan),
        _growth(plan),
    )
    return "\n\n".join("\n".join(section) for section in sections)


def as_options(changes: Mapping[str, Any]) -> str:
    """Fields of a setting, written as options of the command."""
    return " ".join(f"{option(name)} {value}" for name, value in changes.items())


def _setting(plan: Plan, gpus_given: bool) -> Iterator[str]:
    setting = plan.setting
    guess = "" if gpus_given else " (assumed; --gpus N plans for N)"
    yield (
        f"{setting.classes:,} classes x {setting.embedding} on {rank_names(plan)}{guess}, "
        f"batch {setting.batch:,} each ({setting.samples:,} together)" + _micro_batches(plan)
    )
    stored = "no" if setting.stored_momentum == "none" else setting.stored_momentum
    moments = "adamw moments" if setting.optimizer == "adamw" else f"{stored} momentum (sgd)"
    yield f"{setting.weight_dtype} centres, {moments}, {setting.compute_dtype} matrix products"
    each = f" classes with {setting.sub_centers} centres each" if setting.sub_centers > 1 else " centres"
    yield (
        f"a shard of {setting.local_classes:,}{each}, {setting.rows:,} of which take part in a step "
        f"(sample rate {setting.sample_rate:g}{', the largest of its stages' if setting.staged else ''})"
    )


def _memory(plan: Plan) -> Iterator[str]:
    yield f"memory per {rank_name(plan)}"
    for field in fields(plan.memory):
        if field.name == "losses" and not plan.setting.losses:
            continue
        yield line(field.name.replace("_", " "), show_bytes(getattr(plan.memory, field.name)))
    left = plan.limit - plan.memory.total
    verdict = "fits" if plan.fits else "DOES NOT FIT"
    of = f"of {show_bytes(plan.limit)}"
    if plan.reserve:
        of += f", {show_bytes(plan.reserve)} of it for the backbone"
    yield line("the head in all", show_bytes(plan.memory.total), f"{of}: {verdict}")
    if left > 0:
        yield line("left for the backbone and the rest", show_bytes(left))
    yield line("checkpoint, all ranks", show_bytes(plan.checkpoint), "and the backbone's")


def _communication(plan: Plan) -> Iterator[str]:
    yield from communication_lines(plan)
    if plan.waits_for_hosts:
        yield from _advice_on_hosts(plan)


def _advice_on_hosts(plan: Plan) -> Iterator[str]:
    """What to do where the hosts take longer to exchange labels than a GPU to compute the head."""
    took = show_seconds(plan.communication.host_seconds)
    by_gpu = show_seconds(plan.communication.labels_by_gpu)
    yield f"the hosts exchange labels in {took}, longer than all else of the head's step takes, and a GPU"
    yield "waits for them where the backbone's forward pass is shorter. A larger --batch makes steps longer"
    yield f'and adds no hops; in your own loop init_process_group("nccl") sends labels by GPU, in {by_gpu}'


def _floor(plan: Plan) -> Iterator[str]:
    speed, floor = plan.speed, plan.floor
    yield "floor of the head's step: at these rates none is faster"
    rate = f"{show_flops(speed.gemm_rate)}FLOP/s{assumed(plan, 'gemm_rate')}"
    memory = f"{show_bytes(speed.memory_bandwidth)}/s{assumed(plan, 'memory_bandwidth')}"
    yield line(
        "matrix products", f"{show_flops(floor.flops)}FLOP", f"{show_seconds(floor.gemm_seconds)} at {rate}"
    )
    yield line("memory traffic", show_bytes(floor.bytes), f"{show_seconds(floor.memory_seconds)} at {memory}")
    yield line("in all", show_seconds(floor.seconds))
    if plan.setting.gpus > 1:
        both = floor.seconds + plan.communication.seconds
        yield line("with communication, none hidden", show_seconds(both))


def _growth(plan: Plan) -> Iterator[str]:
    room = f"in {show_bytes(plan.room)} on {rank_names(plan)}"
    yield f"at most {plan.most_classes:,} classes fit {room} with these settings"
    if plan.fits:
        return
    if not plan.alternatives:
        yield "no change of storage, sample rate, batch or number of ranks makes it fit"
        return
    yield f"what to change, cheapest first, and the head's memory per {rank_name(plan)} then"
    wide = max(len(as_options(each.changes)) for each in plan.alternatives) + 2
    for each in plan.alternatives:
        verdict = "fits" if each.fits else "not enough"
        yield f"  {as_options(each.changes):<{wide}}{show_bytes(each.total):>9}  {verdict}"
    if not any(each.fits for each in plan.alternatives):
        yield "none of it is enough, nor are more ranks"


def _micro_batches(plan: Plan) -> str:
    count = plan.setting.accumulation
    return f", {count:,} micro-batches a step" if count > 1 else ""
