"""What a step exchanges between hosts: one message, whose size every rank knows beforehand."""

import copy

import numpy as np
import pytest
import torch

import partialfc
from partialfc.distributed import World
from partialfc.head.message import COLUMNS, COUNT, LAST_CALLS, exchange
from tests.head.cases import D

C = 20
ROW = 8 * len(COLUMNS)  # bytes


def build(**options) -> tuple[partialfc.PartialFC, partialfc.RowSGD]:
    head = partialfc.PartialFC(D, C, margin=partialfc.ArcFace(), **options)
    return head, partialfc.RowSGD(head, lr=0.1)


def batch(size: int, weighted: bool = False) -> tuple[torch.Tensor, ...]:
    labels = torch.arange(size) % C
    labels[::3] = -1
    weights = (torch.full((size,), 0.5),) if weighted else ()
    return torch.randn(size, D, requires_grad=True), labels, *weights


def gathers_of_steps(sizes: list[list[int]], weighted: bool) -> tuple[list[list[int]], dict[str, int]]:
    """Steps with so many samples on each rank: the bytes of each all-gather; the last one's calls."""
    head, optimizer = build(sample_rate=0.5)
    traffic, found = head.world.traffic, []
    for of_ranks in sizes:
        traffic.reset()
        gathered: list[int] = []
        traffic.observer = lambda kind, size, _, to=gathered: (
            to.append(size) if kind == "all_gather" else None
        )
        head(*batch(of_ranks[head.world.rank], weighted)).backward()
        optimizer.step()
        found.append(gathered)
    return found, dict(traffic.calls)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_step_makes_one_exchange_between_hosts(run_ranks, ranks, weighted):
    """The first batch, and one larger than the last, take a second one."""
    of_sample = 16 if weighted else 8
    sizes = [[6] * ranks, [6, *[3] * (ranks - 1)], [9] * ranks, [0] * ranks, [9] * ranks]
    for steps, calls in run_ranks(gathers_of_steps, ranks, sizes, weighted):
        (*host, _), (*second, _), (*larger, _), nothing, (*after, _) = steps
        assert host == [ranks * ROW, ranks * 6 * of_sample]
        assert second == [ranks * (ROW + 6 * of_sample)]
        assert larger == [ranks * (ROW + 6 * of_sample), ranks * 3 * of_sample]
        assert nothing == after == [ranks * (ROW + 9 * of_sample)]  # no samples: no embeddings to gather
        assert calls == {"all_gather": 2, "all_reduce": 2, "reduce_scatter": 1}


def heard(sizes: list[list[int]]) -> list[tuple[list[int], list[int], int]]:
    """What messages with so many integers from each rank told, and how many exchanges that took."""
    world = World.of()
    found = []
    for of_ranks in sizes:
        world.traffic.reset()
        own = np.arange(of_ranks[world.rank], dtype=np.int64) + 100 * world.rank
        of_all = exchange(world, {COUNT: len(own)}, own, torch.device("cpu"))
        told = of_all.following(world).tolist()
        found.append((of_all.table[:, COUNT].tolist(), told, world.traffic.calls["all_gather"]))
    return found


def test_all_ranks_hear_all_integers_whatever_the_room(run_ranks):
    sizes = [[2, 3], [0, 0], [3, 3], [4, 0], [0, 5], *[[1, 1]] * LAST_CALLS, [0, 2], [1, 1]]
    twice = [0, 3, 4, len(sizes) - 2]  # which were larger than all of the last calls
    expected = [
        (each, [*range(each[0]), *range(100, 100 + each[1])], 2 if number in twice else 1)
        for number, each in enumerate(sizes)
    ]
    assert run_ranks(heard, 2, sizes) == [expected, expected]


def mixed_calls() -> list[float]:
    """Batches of several sizes, evaluations and queries between them, a failed call, and a copy's calls."""
    head, optimizer = build(sample_rate=0.5)
    rank, found = head.world.rank, []
    torch.manual_seed(rank)
    for number, size in enumerate([4, 7, 5, 9]):
        loss = head(*batch(size + rank))
        loss.backward()
        optimizer.step()
        head.eval()
        with torch.no_grad():
            found += [loss.item(), head(*batch(3 * size, weighted=number % 2 == 0)).item()]
        found.append(head.top_k(torch.randn(size, D), 2)[0].sum().item() if number % 2 else 0.0)
        head.train()
        embeddings, labels = batch(2 + number)
        labels[0] = 1000 if rank == 1 else 0
        with pytest.raises(partialfc.LabelError, match="label 1000 at sample 0 on rank 1"):
            head(embeddings, labels)
        with pytest.raises((ValueError, partialfc.DistributedError)):
            head(embeddings[:, rank:], labels)
        found.append(copy.deepcopy(head)(*batch(3)).item())
    return found


def test_calls_of_other_methods_and_failed_ones_leave_the_ranks_together(run_ranks):
    first, second = run_ranks(mixed_calls, 2)
    same = [index for index in range(len(first)) if index % 4 != 2]  # cosines are each rank's own
    assert [first[index] for index in same] == [second[index] for index in same]


def other_head_on_rank_one() -> None:
    one, (other, _) = build()[0], build(seed=3)
    one(*batch(2))
    other(*batch(40))
    (other if World.of().rank else one)(*batch(2))


def test_ranks_that_call_different_heads_are_told(rank_outcomes):
    """The size of a message belongs to the group: gloo ends a process whose message has another size."""
    for outcome in rank_outcomes(other_head_on_rank_one, 2):
        assert isinstance(outcome, partialfc.DistributedError)
        assert "ranks [1] built their head otherwise than rank 0" in str(outcome)
