"""What communication costs a step, and the run, over a measured link."""

from dataclasses import dataclass

from partialfc.doctor.check import Check, Level, green, red, yellow
from partialfc.doctor.cost import Waiting
from partialfc.doctor.link import Link
from partialfc.plan import Setting
from partialfc.plan.communication import communication_of
from partialfc.plan.units import show_bytes, show_seconds

BUCKET = 25 << 20  # bytes of gradients that DistributedDataParallel reduces at a time


@dataclass(frozen=True, slots=True)
class Step:
    """What one step computes: seconds in all, and of them in the last micro-batch's backward pass."""

    compute: float
    backward: float


def head_seconds(setting: Setting, link: Link) -> float:
    """Of the head's collectives in a step."""
    planned = communication_of(setting, bandwidth=1.0, latency=0.0)
    rates = {"all_gather": link.all_gather}
    return sum(
        setting.accumulation * rates.get(each.kind, link.all_reduce).seconds(each.sent / setting.accumulation)
        for each in planned.collectives
    )


def gradient_seconds(bytes: int, ranks: int, link: Link) -> float:
    """Of the all-reduce of the backbone's gradients, once a step, in buckets."""
    buckets = -(-bytes // BUCKET)
    sent = 2 * (ranks - 1) / ranks * bytes
    return buckets * link.all_reduce.latency + sent / link.all_reduce.bandwidth


def judge_link(link: Link) -> Check:
    """Without a job only the figures: what is slow depends on what is sent."""
    return green("link", describe(link))


def judge_communication(
    link: Link, setting: Setting, *, gradients: int, step: Step, steps: int, backend: str
) -> Check:
    """gradients: bytes of the backbone's. Of their exchange counts what the backward pass does not hide."""
    head = head_seconds(setting, link)
    reduce = gradient_seconds(gradients, setting.gpus, link)
    wait = Waiting(step.compute, head + max(0.0, reduce - step.backward), steps)
    says = (
        f"{describe(link)}; a step computes {show_seconds(step.compute)}, and exchanges what the head needs "
        f"in {show_seconds(head)} and {show_bytes(gradients)} of gradients in {show_seconds(reduce)}"
    )
    if wait.level == Level.GREEN:
        return green("communication", says)
    name = "NCCL_SOCKET_IFNAME" if backend == "cuda" else "GLOO_SOCKET_IFNAME"
    remedy = (
        f"set {name} to the fast interface (ip -br addr lists them), use faster links, "
        "or raise train.accumulation"
    )
    judge = red if wait.level == Level.RED else yellow
    return judge("communication", f"{says}: waiting takes {wait.describe()}", remedy)


def describe(link: Link) -> str:
    parts = [
        f"{name} {show_seconds(rate.latency)} and {show_bytes(rate.bandwidth)}/s"
        for name, rate in (("all-reduce", link.all_reduce), ("all-gather", link.all_gather))
    ]
    return ", ".join(parts)
