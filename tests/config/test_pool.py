"""The section head.pool: what goes with it, and what does not."""

import pytest

from partialfc.config.plan import planned_setting
from partialfc.errors import ConfigError
from tests.config.cases import failure, small

POOL = ["head.name=pool", "data.sampler=half_identities"]


def test_a_pool_has_its_size_and_the_usual_settings():
    section = small(*POOL, "head.pool.size=0.01", "head.pool.shard=true").head.pool
    assert section.model_dump() == {
        "size": 0.01,
        "momentum": 0.99,
        "hard_negatives": None,
        "weight": 1.0,
        "shard": True,
    }
    assert small().head.pool is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (POOL, "head: name: pool needs the section pool, with its size"),
        (["head.pool.size=0.1"], "pool is only for name: pool"),
        (
            ["head.name=pool", "head.pool.size=0.1"],
            "data.sampler: must be half_identities with head.name: pool",
        ),
        (["data.sampler=half_identities"], "half_identities with head.name: pool, and with no other, got"),
        ([*POOL, "head.pool.size=0.0"], "head.pool.size"),
        ([*POOL, "head.pool.size=7.5"], "size above 1 is a number of classes, so it must be whole, got 7.5"),
        (
            [*POOL, "head.pool.size=40", "head.pool.hard_negatives=41"],
            "head.pool: hard_negatives is 41; it must be at most size, 40: no more classes than the pool",
        ),
        (
            [*POOL, "head.pool.size=31"],
            "head.pool.size: must be at least 32, the identities of a batch, got 31",
        ),
        (
            [*POOL, "head.pool.size=0.1", "train.batch_size=130"],
            "must be a multiple of 4 with head.name: pool",
        ),
        (
            [*POOL, "head.pool.size=0.1", "optimizer.head_lr=0.1"],
            "optimizer.head_lr: must be null with head.name: pool, which has no centres to move, got 0.1",
        ),
        ([*POOL, "head.pool.size=0.1", "head.sample_rate=0.1"], "sample_rate is only for name: partial_fc"),
        ([*POOL, "head.pool.size=0.1", "head.unsampled=frozen"], "unsampled is only for name: partial_fc"),
        ([*POOL, "head.pool.size=0.1", "head.margin={name: softmax, bias: true}"], "a pool has no bias"),
        (
            [*POOL, "head.pool.size=0.1", "losses=[{name: triplet, weight: 1.0}]"],
            "losses: must be empty with head.name: pool",
        ),
        (
            [*POOL, "head.pool.size=0.1", "stages=[{from_epoch: 1, head.sample_rate: 0.5}]"],
            "stages.0.head.sample_rate: is only for head.name: partial_fc, and this config has head.name",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(overrides, message):
    assert message in failure(*overrides)


def test_as_many_hard_negatives_as_classes_are_taken():
    assert small(*POOL, "head.pool.size=40", "head.pool.hard_negatives=40").head.pool.hard_negatives == 40
    assert small(*POOL, "head.pool.size=0.1", "head.pool.hard_negatives=41").head.pool.size == 0.1


def test_a_plan_says_what_a_pool_takes():
    config = small(*POOL, "head.pool.size=0.1")
    with pytest.raises(
        ConfigError, match=r"head\.name is pool, and a plan is of a head with a centre for each"
    ):
        planned_setting(config)
