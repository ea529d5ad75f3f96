"""The class pool against the plain float64 reference, with its rows on every rank and sharded."""

import pytest

from tests.pool.cases import MARGINS, STEPS, check_steps, pool_of, run_steps

SOME = ["arcface", "curricularface", "elasticface_plus", "softmax", "sub_centers"]


def run_margins(names, shard):
    return {name: run_steps(pool_of(name, shard=shard), range(STEPS)) for name in names}


@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_losses_gradients_order_and_state_are_those_of_the_reference(run_ranks, world_size, shard):
    names = SOME if world_size == 2 or (shard and world_size == 1) else list(MARGINS)
    results = run_ranks(run_margins, world_size, names, shard)
    for name in names:
        check_steps(name, [result[name] for result in results])
    assert all(inside and outside for inside, outside in results[0]["arcface"]["found"])
