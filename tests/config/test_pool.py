"""The section head.pool: what goes with it, and what does not."""

import pytest

import partialfc
from partialfc.backbones import build_backbone
from partialfc.config.plan_pool import planned_pool
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


def test_a_pool_is_planned_as_the_config_has_it():
    pool = ["head.pool={size: 0.1, shard: true, hard_negatives: 7}", "head.sub_centers=2", "train.device=cpu"]
    config = small(
        *POOL, *pool, "data.num_classes=1000", "backbone.embedding_size=64", "train.accumulation=2"
    )
    found = planned_pool(config, {}, gpus=2, device="cpu")
    assert (found.size, found.classes, found.embedding, found.batch) == (100, 1000, 64, 64)
    assert (found.shard, found.nearest, found.sub_centers, found.accumulation) == (True, 7, 2, 2)
    assert planned_pool(config, {"classes": 5000, "sub_centers": 1}, gpus=2, device="cpu").size == 500
    backbone = build_backbone("iresnet50", embedding_size=64)
    gallery = partialfc.GalleryNetwork(backbone)
    assert found.gallery == sum(tensor.nbytes for tensor in gallery.network.state_dict().values())


def test_options_that_are_about_centres_are_refused_for_a_pool():
    config = small(*POOL, "head.pool.size=0.1", "data.num_classes=1000")
    with pytest.raises(ConfigError, match=r"^--sample-rate, --optimizer: only for a head with a centre"):
        planned_pool(config, {"sample_rate": 0.1, "optimizer": "sgd"}, gpus=1, device="cpu")
