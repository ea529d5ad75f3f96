"""What the ranks exchange in a step, and how long that takes at given rates.

A collective's time is a latency, the bytes that leave a rank over its bandwidth, and a latency for each hop,
the ranks that some of the bytes pass one after the other. How many hops there are is what the libraries do:

gloo passes everything round a ring of all ranks: W - 1 hops of a gather (gloo/allgather.cc), twice as many of
an all-reduce (gloo/allreduce.cc). For a reduce-scatter torch has it reduce everything on every rank, of which
it keeps a part (ProcessGroupGloo::reduce_scatter_tensor_coalesced).

NCCL, by its own model of its times (src/graph/tuning.cc, 2.28): a gather or reduce-scatter goes round a ring,
in which each node's ranks are neighbours. An all-reduce goes up and down a tree of the nodes and a chain in
each. PAT, whose hops grow with log2(W), it takes for gathers only where each node has one GPU.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from partialfc.head.message import COLUMNS, INTEGER_BYTES
from partialfc.plan.pool_setting import PoolSetting
from partialfc.plan.setting import Setting
from partialfc.plan.speed import Speed

Exchange = tuple[str, str, int]  # the kind of collective, what of, and the bytes of one call

MOST_SUMS = 4  # numbers: a loss has one sum or two, each with its count
OUTCOME = 5  # integers of each rank by which all take one decision: partialfc.training.outcome.COLUMNS


@dataclass(frozen=True, slots=True)
class Collective:
    """One collective of a step, and what it carries.

    calls: how often a step makes it. payload: bytes of its input or its output, whichever is larger, as
    partialfc.distributed.traffic counts them. sent: bytes that leave each rank. Both are of all calls.
    hops: ranks that the last byte of a call has passed when it arrives. hop_seconds: what all of them take of
    `seconds`.
    on_host: whether it goes from CPU to CPU (gloo), also where the others go from GPU to GPU (NCCL).
    """

    kind: str
    what: str
    calls: int
    payload: int
    sent: float
    hops: int
    hop_seconds: float
    seconds: float
    on_host: bool


@dataclass(frozen=True, slots=True)
class Communication:
    """All collectives of a step, in their order; none overlaps another.

    labels_by_gpu: seconds that the labels would take from GPU to GPU, in a group without gloo; 0 on CPUs.
    """

    collectives: tuple[Collective, ...]
    labels_by_gpu: float = 0.0

    @property
    def sent(self) -> float:
        return sum(each.sent for each in self.collectives)

    @property
    def seconds(self) -> float:
        return sum(each.seconds for each in self.collectives)

    @property
    def host_seconds(self) -> float:
        """Of those between hosts."""
        return sum(each.seconds for each in self.collectives if each.on_host)


def communication_of(setting: Setting, speed: Speed) -> Communication:
    """What ranks agree on and the labels are read by the host, so that on GPUs too they go from CPU to CPU.

    On CPUs all collectives are of that kind.
    """
    if setting.gpus == 1:
        return Communication(())
    on_cpu, samples, size = setting.device == "cpu", setting.samples, setting.embedding
    of_samples = samples * setting.math_bytes
    labels = labels_of(setting.gpus, samples, "labels")
    others = (
        ("all_gather", "embeddings", samples * size * setting.gather_bytes),
        ("all_reduce", "target cosines", of_samples * setting.target_numbers),
        *(() if setting.has_bound else (("all_reduce", "largest logits", of_samples),)),
        ("all_reduce", "sums", of_samples * (2 if setting.reweights_negatives else 1)),
        ("reduce_scatter", "embedding gradients", of_samples * size),
    )
    of_losses = (
        ("all_gather", "embeddings of the losses", samples * size * setting.gather_bytes),
        ("all_reduce", "sums of the losses", MOST_SUMS * setting.math_bytes),
        ("reduce_scatter", "gradients of the losses", of_samples * size),
    )
    outcome = ("all_reduce", "outcome", setting.gpus * OUTCOME * INTEGER_BYTES)
    return Communication(
        (
            collective_of(setting, speed, *labels, on_host=True),
            *(collective_of(setting, speed, *other, on_host=on_cpu) for other in others),
            *_of_losses(setting, speed, labels, of_losses),
            collective_of(setting, speed, *outcome, on_host=on_cpu, calls=1),
        ),
        0.0 if on_cpu else collective_of(setting, speed, *labels, on_host=False).seconds,
    )


def _of_losses(
    setting: Setting, speed: Speed, labels: Exchange, others: Iterable[Exchange]
) -> Iterator[Collective]:
    """What each loss beside the head exchanges again; nothing without one."""
    calls = setting.accumulation * len(setting.losses)
    if calls:
        kind, what, payload = labels
        yield collective_of(setting, speed, kind, f"{what} of the losses", payload, on_host=True, calls=calls)
        for other in others:
            yield collective_of(setting, speed, *other, on_host=setting.device == "cpu", calls=calls)


def labels_of(ranks: int, samples: int, what: str) -> Exchange:
    """In which the ranks agree on a call, and tell the labels of all samples."""
    return "all_gather", what, (ranks * len(COLUMNS) + samples) * INTEGER_BYTES


def collective_of(
    setting: Setting | PoolSetting,
    speed: Speed,
    kind: str,
    what: str,
    payload: int,
    *,
    on_host: bool,
    calls: int | None = None,
) -> Collective:
    """payload: of one call; calls: None for one in each micro-batch."""
    calls, ranks = setting.accumulation if calls is None else calls, setting.gpus
    reduces = kind == "all_reduce" or (kind == "reduce_scatter" and on_host)
    share = (2 if reduces else 1) * (ranks - 1) / ranks
    if on_host:
        hops = (2 if reduces else 1) * (ranks - 1)
        latency, bandwidth, of_hops = speed.host_latency, speed.host_bandwidth, hops * speed.host_hop
    else:
        inside, between = gpu_hops(kind, ranks, speed.gpus_per_node)
        hops = inside + between
        latency, bandwidth = speed.latency, speed.bandwidth
        of_hops = inside * speed.hop + between * speed.network_hop
    sent = payload * share
    seconds = latency + of_hops + sent / bandwidth
    return Collective(
        kind, what, calls, payload * calls, sent * calls, hops, of_hops * calls, seconds * calls, on_host
    )


def gpu_hops(kind: str, ranks: int, per_node: int) -> tuple[int, int]:
    """The hops of a collective of NCCL's inside a node, and those between nodes."""
    nodes = -(-ranks // per_node)
    if kind == "all_reduce":
        return 2 * (min(ranks, per_node) - 1), 2 * (nodes - 1).bit_length()
    return ranks - nodes, nodes - 1
