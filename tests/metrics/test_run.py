"""A run's metrics: totals that go on at another world size, and the slow rank told from those that wait."""

import json
import threading
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import partialfc
from partialfc.distributed import World
from partialfc.metrics import HeadMetrics, Registry
from partialfc.metrics.run import RunMetrics
from tests.metrics.cases import RANK, samples, sum_of, text_of


def metrics_of(world: World) -> tuple[RunMetrics, partialfc.PartialFC]:
    """A run's metrics, and the head that they watch."""
    head = partialfc.PartialFC(4, 8, margin=partialfc.ArcFace())
    watch = partial(HeadMetrics, head=head)
    return RunMetrics(run="mine", world=world, watch=watch, device=torch.device("cpu")), head


def totals_of(rank: int, images: float, steps: float) -> dict[str, dict[str, float]]:
    registry = Registry(run="mine", rank=rank)
    registry.add("partialfc_images_total", images)
    registry.add("partialfc_steps_total", steps)
    registry.add("partialfc_collective_bytes_total", 10 * images, collective="all_gather")
    return json.loads(json.dumps(registry.totals()))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_totals_go_on_at_any_world_size(world_size):
    """Sums over the ranks go on as sums; what every rank counts alike goes on on every rank."""
    saved = [totals_of(rank, images, 7) for rank, images in enumerate((100.0, 20.0, 3.0))]
    found = {}
    for rank in range(world_size):
        metrics, _ = metrics_of(World(None, rank, world_size))
        metrics.restore(saved, checkpoint_time=1.5)
        found |= samples(text_of(metrics.registry))
    assert sum_of(found, "partialfc_images_total") == 123
    assert sum_of(found, "partialfc_collective_bytes_total") == 1230
    assert sum_of(found, "partialfc_steps_total") == 7 * world_size
    assert found["partialfc_checkpoint_timestamp_seconds", *RANK] == 1.5


SLOW_SECONDS = 0.25  # many times what a step takes, on a busy machine too
STEPS = 2


class Slow(nn.Module):
    """Rank 1 takes its time in every forward and backward pass."""

    def __init__(self, *, in_model: bool) -> None:
        super().__init__()
        self.in_model = in_model
        self.layer = nn.Linear(4, 4)
        self.register_buffer("statistics", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.in_model:
            return self.layer(x)
        loiter()
        x = self.layer(x)
        x.register_hook(lambda _: loiter())
        return x


def loiter() -> None:
    if torch.distributed.get_rank() == 1:
        threading.Event().wait(SLOW_SECONDS)


def slow_input() -> torch.Tensor:
    loiter()
    return torch.ones(2, 4)


def own_times(slow: str) -> tuple[dict[tuple[str, ...], float], float]:
    """A loop in DistributedDataParallel, rank 1 slow in its "model" or "input": metrics, own step time."""
    world = World.of()
    metrics, head = metrics_of(world)
    backbone = DistributedDataParallel(Slow(in_model=slow == "model"))
    optimizer = partialfc.RowSGD(head, lr=0.1)
    with metrics.running(0, STEPS, backbone):
        for step in range(1, STEPS + 1):
            with metrics.clock.step():
                with metrics.clock.phase("backbone"):
                    embedded = backbone(slow_input() if slow == "input" else torch.ones(2, 4))
                with metrics.clock.phase("head_forward"):
                    loss = head(embedded, torch.tensor([1, 2]))
                with metrics.clock.phase("backward"):
                    loss.backward()
                optimizer.step()
                own = world.gather_integers([metrics.own_microseconds])[:, 0]
                metrics.stepped(
                    step, finite=True, overflowed=False, own_microseconds=own, queued=0, bad_records=0
                )
    return samples(text_of(metrics.registry)), metrics.own_microseconds


@pytest.mark.parametrize(
    ("own", "ratio"),
    [([100], 1.0), ([300, 100], 3.0), ([100, 100, 300], 3.0), ([100, 150, 200, 300], 2.0)],
)
def test_stragglers_are_measured_by_the_median_rank_of_an_even_number_the_faster(own, ratio):
    metrics, _ = metrics_of(World(None, 0, 1))
    metrics.stepped(1, finite=True, overflowed=False, own_microseconds=np.array(own), queued=0, bad_records=0)
    assert samples(text_of(metrics.registry))["partialfc_straggler_ratio", *RANK] == ratio


@pytest.mark.parametrize(("slow", "times_a_step"), [("model", 2), ("input", 1)])
def test_the_slow_rank_is_told_from_those_that_wait_for_it(run_ranks, slow, times_a_step):
    """Both ranks' steps take the same time, for they wait for each other."""
    (first, own_first), (second, own_second) = run_ranks(own_times, 2, slow)
    assert own_second > max(own_first, 1e6 * times_a_step * SLOW_SECONDS)
    ratio = first["partialfc_straggler_ratio", *RANK]
    assert ratio > 1.1
    assert second["partialfc_straggler_ratio", "rank=1", "run=mine"] == ratio
    waited = ("partialfc_collective_seconds_sum", "collective=all_reduce", *RANK)
    assert first[waited] > STEPS * SLOW_SECONDS / 2


def test_gradients_of_the_backbone_count_as_an_all_reduce_a_step(run_ranks):
    found, _ = run_ranks(own_times, 2, "model")[0]
    gradients = STEPS * (4 * 4 + 4) * 4
    cosines_and_sums = STEPS * 2 * (4 * 4)
    assert (
        found["partialfc_collective_bytes_total", "collective=all_reduce", *RANK]
        == gradients + cosines_and_sums
    )
    assert found["partialfc_collective_calls_total", "collective=all_reduce", *RANK] == STEPS * (1 + 2)
    assert found["partialfc_collective_seconds_count", "collective=all_reduce", *RANK] == STEPS * (1 + 2)
