"""What the ranks of a class pool exchange in a step, and how long that takes at given rates."""

from collections.abc import Iterator

from partialfc.head.message import INTEGER_BYTES
from partialfc.plan.communication import OUTCOME, Communication, Exchange, collective_of, labels_of
from partialfc.plan.pool_setting import PoolSetting
from partialfc.plan.speed import Speed

FLOAT = 4  # bytes: embeddings are sent as the networks give them


def pool_communication_of(setting: PoolSetting, speed: Speed) -> Communication:
    """In its order, besides the backbone's gradients. Labels go from CPU to CPU, as the host reads them."""
    if setting.gpus == 1:
        return Communication(())
    on_cpu = setting.device == "cpu"
    outcome = ("all_reduce", "outcome", setting.gpus * OUTCOME * INTEGER_BYTES)
    return Communication(
        (
            *(
                collective_of(setting, speed, *each, on_host=on_cpu or "labels" in each[1])
                for each in _exchanges(setting)
            ),
            collective_of(setting, speed, *outcome, on_host=on_cpu, calls=1),
        )
    )


def _exchanges(setting: PoolSetting) -> Iterator[Exchange]:
    """Of a micro-batch. The two messages of labels have the room of the larger one."""
    ranks, size, wide = setting.gpus, setting.embedding, setting.math_bytes
    classified = (setting.batch - setting.written) * ranks
    yield labels_of(ranks, classified, "labels of the features")
    yield "all_gather", "features", setting.written * ranks * size * FLOAT
    yield labels_of(ranks, classified, "labels")
    inside, outside = setting.inside, setting.samples - setting.inside
    if not setting.together:
        numbers = 1 + setting.target_numbers  # the cosine and the norm, and a centre's norm where it counts
        yield "all_gather", "target cosines", ranks * inside * numbers * wide
        yield "all_reduce", "sums of the losses", 2 * wide
        return
    yield "all_gather", "embeddings", setting.samples * size * FLOAT
    yield "all_reduce", "target cosines", inside * wide * setting.target_numbers
    if not setting.has_bound:
        yield "all_reduce", "largest logits", inside * wide
    yield "all_reduce", "sums", inside * wide * (2 if setting.reweights_negatives else 1)
    yield "reduce_scatter", "embedding gradients", inside * size * wide
    yield "all_gather", "nearest cosines", ranks * outside * setting.nearest * wide
    yield "reduce_scatter", "gradients of the others", outside * size * wide
