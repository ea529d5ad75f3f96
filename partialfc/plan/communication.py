"""What the ranks exchange in a step, and how long that takes at a given bandwidth."""

from dataclasses import dataclass

from partialfc.plan.setting import Setting

LABEL_BYTES = 8
INTEGERS = 6 * 8  # bytes a rank, for the agreement on a batch


@dataclass(frozen=True, slots=True)
class Collective:
    """One collective of a step, and what it carries.

    payload: bytes of its input or its output, whichever is larger, as partialfc.distributed.traffic counts
    them. sent: bytes that leave each rank. All of it is summed over the micro-batches of a step.
    """

    kind: str
    what: str
    payload: int
    sent: float
    seconds: float


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


def communication_of(setting: Setting, *, bandwidth: float, latency: float) -> Communication:
    """Ring algorithms, at `bandwidth` bytes a second from each rank and `latency` seconds a collective.

    A ring moves (W - 1) / W of the bytes of a gather or a scatter, and twice that share of an all-reduce's.
    """
    if setting.gpus == 1:
        return Communication(())
    samples, size = setting.samples, setting.embedding
    once = (setting.gpus - 1) / setting.gpus
    exchanges = (
        ("all_gather", "counts", setting.gpus * INTEGERS, once),
        ("all_gather", "labels", samples * LABEL_BYTES, once),
        ("all_gather", "embeddings", samples * size * setting.gather_bytes, once),
        ("all_reduce", "target cosines", samples * setting.math_bytes, 2 * once),
        ("all_reduce", "sums", samples * setting.math_bytes, 2 * once),
        ("reduce_scatter", "embedding gradients", samples * size * setting.math_bytes, once),
    )
    times = setting.accumulation
    return Communication(
        tuple(
            Collective(
                kind,
                what,
                payload=payload * times,
                sent=payload * times * share,
                seconds=times * (latency + payload * share / bandwidth),
            )
            for kind, what, payload, share in exchanges
        )
    )
