"""What the ranks exchange in a step, and how long that takes at a given bandwidth."""

from dataclasses import dataclass

from partialfc.plan.setting import Setting

LABEL_BYTES = 8
INTEGERS = 6 * 8  # of the agreement on a batch, one row a rank


@dataclass(frozen=True, slots=True)
class Collective:
    """One collective of a step, and what it carries.

    payload: the bytes of the larger tensor it takes or gives, as partialfc.distributed.traffic counts them;
    sent: those that leave each rank.
    """

    kind: str
    what: str
    payload: int
    sent: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Communication:
    """All collectives of a step, one after another."""

    collectives: tuple[Collective, ...]

    @property
    def sent(self) -> float:
        return sum(each.sent for each in self.collectives)

    @property
    def seconds(self) -> float:
        return sum(each.seconds for each in self.collectives)


def communication_of(setting: Setting, *, bandwidth: float, latency: float) -> Communication:
    """Ring algorithms at `bandwidth` bytes a second out of each rank, and `latency` seconds a collective.

    A ring moves (W - 1) / W of a gather's or a scatter's bytes, twice that of an all-reduce's.
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
