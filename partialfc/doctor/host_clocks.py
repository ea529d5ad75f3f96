"""Checks how much the clocks of the hosts differ."""

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from partialfc.distributed.world import World
from partialfc.doctor.check import Check, green, red, yellow

ROUNDS = 5
WORTH_SAYING = 1.0
TOO_FAR = 10.0  # torchrun gives up a node 15 s after its last heartbeat, and one comes every 5 s


def measure_clocks(world: World, now: Callable[[], int] = time.time_ns) -> list[float]:
    """Collective: seconds [W] by which each rank's clock is ahead of rank 0's, within a collective's time."""
    rounds = []
    for _ in range(ROUNDS):
        world.barrier()
        table = world.gather_integers([now()])[:, 0]
        rounds.append((table - table[0]) / 1e9)
    return [statistics.median(column) for column in np.array(rounds).T.tolist()]


def judge_clocks(offsets: Sequence[float], hosts: Sequence[str]) -> Check:
    """offsets, hosts [W]: seconds by which each rank's clock is ahead of rank 0's, and the rank's host."""
    first, last = int(np.argmax(offsets)), int(np.argmin(offsets))
    apart = offsets[first] - offsets[last]
    if apart <= WORTH_SAYING:
        return green(
            "clocks", f"within {apart:.2g} s on {len(set(hosts))} host{'s' if len(set(hosts)) > 1 else ''}"
        )
    says = (
        f"that of {hosts[last]} (rank {last}) is {apart:.1f} s behind that of {hosts[first]} (rank {first})"
    )
    remedy = "run chrony or ntpd on every host"
    if apart > TOO_FAR:
        return red("clocks", f"{says}: torchrun may take that host for dead", remedy)
    return yellow("clocks", f"{says}: times in the metrics and logs of the two will not agree", remedy)
