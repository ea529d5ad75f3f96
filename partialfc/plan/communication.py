"""What the ranks exchange in a step, and how long that takes at a given bandwidth."""

from dataclasses import dataclass

from partialfc.head.message import COLUMNS, INTEGER_BYTES
from partialfc.plan.setting import Setting


@dataclass(frozen=True, slots=True)
class Collective:
    """One collective of a step, and what it carries.

    payload: bytes of its input or its output, whichever is larger, as partialfc.distributed.traffic counts
    them. sent: bytes that leave each rank. All of it is summed over the micro-batches of a step.
    on_host: whether it goes from CPU to CPU (gloo), also where the others go from GPU to GPU (NCCL).
    """

    kind: str
    what: str
    payload: int
    sent: float
    seconds: float
    on_host: bool


@dataclass(frozen=True, slots=True)
class Communication:
    """All collectives of a step, in their order; none overlaps another."""

    collectives: tuple[Collective, ...]

    @property
    def sent(self) -> float:
        return sum(each.sent for each in self.collectives)

    @property
    def seconds(self) -> float:
        return sum(each.seconds for each in self.collectives)


def communication_of(
    setting: Setting, *, bandwidth: float, latency: float, host_bandwidth: float, host_latency: float
) -> Communication:
    """Ring algorithms, at `bandwidth` bytes a second from each rank and `latency` seconds a collective.

    host_bandwidth, host_latency: of the collectives between CPUs. What ranks agree on and the labels are
    read by the host, so that they go that way on GPUs too. On CPUs all collectives are of that kind.

    A ring moves (W - 1) / W of the bytes of a gather or a scatter, and twice that share of an all-reduce's.
    """
    if setting.gpus == 1:
        return Communication(())
    samples, size = setting.samples, setting.embedding
    once = (setting.gpus - 1) / setting.gpus
    on_cpu = setting.device == "cpu"
    exchanges = (
        ("all_gather", "labels", (setting.gpus * len(COLUMNS) + samples) * INTEGER_BYTES, once, True),
        ("all_gather", "embeddings", samples * size * setting.gather_bytes, once, on_cpu),
        ("all_reduce", "target cosines", samples * setting.math_bytes, 2 * once, on_cpu),
        ("all_reduce", "sums", samples * setting.math_bytes, 2 * once, on_cpu),
        ("reduce_scatter", "embedding gradients", samples * size * setting.math_bytes, once, on_cpu),
    )
    times = setting.accumulation
    found = []
    for kind, what, payload, share, on_host in exchanges:
        rate, wait = (host_bandwidth, host_latency) if on_host else (bandwidth, latency)
        seconds = times * (wait + payload * share / rate)
        found.append(Collective(kind, what, payload * times, payload * times * share, seconds, on_host))
    return Communication(tuple(found))
