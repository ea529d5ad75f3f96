"""What communication over the measured link costs a step and the run."""

from dataclasses import dataclass

import torch

from partialfc.distributed.device import own_backend
from partialfc.doctor.check import Check, Level, green, red, yellow
from partialfc.doctor.cost import Waiting
from partialfc.doctor.link import Link
from partialfc.plan import PoolSetting, Setting, Speed
from partialfc.plan.communication import communication_of
from partialfc.plan.pool_communication import pool_communication_of
from partialfc.plan.units import show_bytes, show_seconds

BUCKET = 25 << 20  # bytes of gradients that DistributedDataParallel reduces at a time


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds that one step computes: in all, and in the backward pass of the last micro-batch."""

    compute: float
    backward: float


def collective_seconds(setting: Setting | PoolSetting, link: Link) -> float:
    """Seconds of a step's collectives, those of the backbone's gradients apart."""
    speed = Speed.of(setting)  # for what is sent; how fast is measured
    if isinstance(setting, PoolSetting):
        planned = pool_communication_of(setting, speed)
    else:
        planned = communication_of(setting, speed)
    seconds = 0.0
    for each in planned.collectives:
        gather = link.host_gather if each.on_host else link.all_gather
        rate = gather if each.kind == "all_gather" else link.all_reduce
        seconds += each.calls * rate.seconds(each.sent / each.calls)
    return seconds


def gradient_seconds(bytes: int, ranks: int, link: Link) -> float:
    """Seconds of the all-reduce of the backbone's gradients, once a step and in buckets."""
    buckets = -(-bytes // BUCKET)
    sent = 2 * (ranks - 1) / ranks * bytes
    return buckets * link.all_reduce.latency + sent / link.all_reduce.bandwidth


def judge_link(link: Link) -> Check:
    """Only the figures: without a job nothing says how much will be sent."""
    return green("link", describe_link(link))


def judge_communication(
    link: Link, setting: Setting | PoolSetting, *, gradients: int, step: Step, steps: int, backend: str
) -> Check:
    """gradients: bytes. Of their exchange only what outlasts the backward pass counts as waiting."""
    head = collective_seconds(setting, link)
    reduce = gradient_seconds(gradients, setting.gpus, link)
    wait = Waiting(step.compute, head + max(0.0, reduce - step.backward), steps)
    says = (
        f"{describe_link(link)}; a step computes {show_seconds(step.compute)}, and exchanges what the head "
        f"needs in {show_seconds(head)} and {show_bytes(gradients)} of gradients in {show_seconds(reduce)}"
    )
    if wait.level == Level.GREEN:
        return green("communication", says)
    remedy = (
        f"set {socket_names(backend)} to the fast interface (ip -br addr lists them), use faster links, "
        "or raise train.accumulation"
    )
    judge = red if wait.level == Level.RED else yellow
    return judge("communication", f"{says}: waiting takes {wait.describe()}", remedy)


def socket_names(device: str) -> str:
    """The variables that choose the network interface of a job on such devices.

    With GPUs that is both: labels and the ranks' agreement go over gloo, which also comes first.
    """
    return " and ".join(f"{backend.upper()}_SOCKET_IFNAME" for backend in backends_with_interface(device))


def backends_with_interface(device: str) -> list[str]:
    """The backends of a job on such devices whose network interface a variable chooses."""
    own = own_backend(torch.device(device))
    return ["gloo", *([own] if own in ("nccl", "hccl") else [])]


def describe_link(link: Link) -> str:
    """Latency and bandwidth of each collective."""
    parts = [
        f"{name} {show_seconds(rate.latency)} and {show_bytes(rate.bandwidth)}/s"
        for name, rate in (("all-reduce", link.all_reduce), ("all-gather", link.all_gather))
    ]
    return ", ".join(parts)
