"""Lines that plans of a head and of a class pool have alike."""

from collections.abc import Iterator, Sequence

from partialfc.plan import Collective, Plan, PoolPlan
from partialfc.plan.units import show_bytes, show_seconds

WIDTH = 40
RATES = {
    "bandwidth": "/s",
    "latency": " a collective",
    "network_hop": " a hop between nodes",
    "hop": " a hop",
}


def communication_lines(plan: Plan | PoolPlan) -> Iterator[str]:
    if plan.setting.gpus == 1:
        yield f"communication per step: none, there is one {rank_name(plan)}"
        return
    gpu = plan.setting.device != "cpu"
    yield f"communication per step and {rank_name(plan)}"
    for each in plan.communication.collectives:
        yield line(
            f"{each.kind} of {each.what}".replace("_", "-", 1),
            show_bytes(each.sent),
            f"{show_seconds(each.seconds)}, {show_seconds(each.hop_seconds)} of it {_hops(each)}"
            f"{', between the hosts (gloo)' if each.on_host and gpu else ''}",
        )
    yield line("in all", show_bytes(plan.communication.sent), show_seconds(plan.communication.seconds))
    if gpu:
        nodes = -(-plan.setting.gpus // plan.speed.gpus_per_node)
        between = _rates(plan, ("bandwidth", "latency", "hop", *(["network_hop"] if nodes > 1 else [])))
        yield f"  from GPU to GPU on {nodes:,} node{'s' if nodes > 1 else ''}: {between}"
    yield f"  from host to host: {_rates(plan, ('host_bandwidth', 'host_latency', 'host_hop'))}"


def _rates(plan: Plan | PoolPlan, names: Sequence[str]) -> str:
    """Rates by their names, each with its unit; those that nobody gave are said to be assumed."""
    shown = []
    for name in names:
        value, what = getattr(plan.speed, name), name.removeprefix("host_")
        show = show_bytes if what == "bandwidth" else show_seconds
        shown.append(f"{show(value)}{RATES[what]}{assumed(plan, name)}")
    return ", ".join(shown)


def _hops(each: Collective) -> str:
    times = f"{each.calls:,} x " if each.calls > 1 else ""
    return f"for {times}{each.hops:,} hop{'s' if each.hops > 1 else ''}"


def line(name: str, value: str, note: str = "") -> str:
    return f"  {name:<{WIDTH}}{value:>11}  {note}".rstrip()


def assumed(plan: Plan | PoolPlan, name: str) -> str:
    return " (assumed)" if name in plan.speed.assumed else ""


def rank_name(plan: Plan | PoolPlan) -> str:
    return "GPU" if plan.setting.device != "cpu" else "process"


def rank_names(plan: Plan | PoolPlan) -> str:
    count = plan.setting.gpus
    plural = "" if count == 1 else "es" if rank_name(plan) == "process" else "s"
    return f"{count:,} {rank_name(plan)}{plural}"
