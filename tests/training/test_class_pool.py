"""Whole runs with a class pool in place of the head, on any number of ranks, stopped and resumed."""

from typing import Any

import pytest
import torch

from partialfc.checkpoint.store import load_replicated
from partialfc.config import load_config
from partialfc.errors import CheckpointError, ConfigError
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from tests.paths import ROOT
from tests.train_cases import small_config
from tests.training.cases import EXACT, losses, moved, stop_after_seven, tensor_files
from tests.training.test_accelerator import faults_of_steps
from tests.training.test_accelerator import run_both as run_here_and_there

SIZE = 12  # of 20 classes


def sections(*, shard: bool = False, exact: bool = False, **more: Any) -> dict[str, Any]:
    """Batches of 20: of 5 identities, and three ranks cut groups of four apart."""
    head = {"name": "pool", "pool": {"size": SIZE, "shard": shard}, "sample_rate": 1.0}
    train = {"batch_size": 20, "steps": 10, **more.pop("train", {})}
    wide = {**EXACT, "head": EXACT["head"] | head} if exact else {"head": head}
    return {**wide, "data": {"sampler": "half_identities"}, "train": train, **more}


def run(config: Any) -> dict[str, torch.Tensor]:
    """A whole run on this rank; all that it has at the end."""
    trainer = Trainer(config, torch.device("cpu"))
    with trainer.running():
        assert trainer.run()
    objective = trainer.objective
    return {
        **{name: tensor.clone() for name, tensor in objective.backbone.state_dict().items()},
        **{f"gallery {name}": t.clone() for name, t in objective.gallery.network.state_dict().items()},
        "features": objective.pool.features.clone(),
        "classes": objective.pool.classes,
    }


def assert_same(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for name, tensor in a.items():
            assert torch.equal(tensor, b[name]), name


@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
def test_a_stop_and_a_resume_leave_no_trace(run_ranks, folder, shard):
    """With normalisation over the batch, dropout, a margin that keeps averages; nor in a rank's file."""
    how = sections(shard=shard, backbone={"channels_last": True})
    how["head"] |= {"margin": {"name": "curricularface", "scale": 16}, "sub_centers": 2}
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    expected = run_ranks(run, 2, small_config(whole, **how))
    run_ranks(stop_after_seven, 2, small_config(parts, **how))
    assert_same(run_ranks(run, 2, small_config(parts, **how)), expected)
    assert losses(parts) == losses(whole)
    assert tensor_files(parts) == tensor_files(whole)
    assert len(expected[0]["classes"]) == SIZE
    assert not torch.equal(expected[0]["gallery features.0.weight"], expected[0]["features.0.weight"])


def test_another_number_of_ranks_goes_on_with_the_pools_content(run_ranks, folder):
    """Two ranks that share the pool, and then three that each have all of it, do what one does."""
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    (expected,) = run_ranks(run, 1, small_config(whole, **sections(exact=True)))
    run_ranks(stop_after_seven, 2, small_config(parts, **sections(exact=True, shard=True)))
    for found in run_ranks(run, 3, small_config(parts, **sections(exact=True))):
        assert torch.equal(found["classes"], expected["classes"])
        torch.testing.assert_close(found["features"], expected["features"], atol=1e-9, rtol=0)
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-9)


def test_the_log_has_both_parts_of_the_loss_and_the_pools_classes(run_ranks, folder):
    run_ranks(run, 1, small_config(folder, **sections()))
    records = [record for record in read_metrics(folder / "run") if record["event"] == "train"]
    assert all(
        record["loss"] == pytest.approx(record["loss_head"] + record["loss_hard_negatives"], rel=1e-5)
        for record in records
    )
    assert [record["centres"] for record in records] == [5, 10, *[SIZE] * 8]
    assert all(record["embedding_norm"] > 0 for record in records)


def test_a_step_that_is_not_finite_moves_neither_network(run_ranks, folder):
    """NaN on the last rank in step 3: the features of the batch, which the gallery gave, are good."""
    backbone = {"name": "tests.train_cases:Poisoned", "options": {"steps": [3], "rank": 1}}
    for result in run_ranks(run, 2, small_config(folder, **sections(backbone=backbone))):
        assert all(tensor.isfinite().all() for tensor in result.values())
    records = read_metrics(folder / "run")
    assert [record["step"] for record in records if record["event"] == "nonfinite"] == [3]
    assert [
        record["step"] for record in records if record["event"] == "train" and record["loss"] is None
    ] == [3]


def test_statistics_of_all_ranks_together_reach_the_gallery(run_ranks, folder):
    """Another number of ranks then computes the same, but for rounding."""
    how = sections(train={"sync_batchnorm": True, "steps": 4}, backbone={"name": "tests.train_cases:Tiny"})
    how["backbone"]["options"] = {"batchnorm": True}
    one, two = moved(folder, "one"), moved(folder, "two")
    run_ranks(run, 1, small_config(one, **how))
    run_ranks(run, 2, small_config(two, **how))
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)


def test_micro_batches_leave_the_galleries_of_all_ranks_equal(run_ranks, folder):
    """Also where the running statistics of each rank are its own between the first and the last of a step."""
    backbone = {"name": "tests.train_cases:Tiny", "options": {"batchnorm": True}}
    how = sections(train={"accumulation": 3, "steps": 3}, backbone=backbone)
    first, second = run_ranks(run, 2, small_config(folder, **how))
    galleries = [{n: t for n, t in result.items() if n.startswith("gallery")} for result in (first, second)]
    assert_same(*([gallery] for gallery in galleries))
    (mean,) = (name for name in galleries[0] if name.endswith("running_mean"))
    assert galleries[0][mean].any()
    assert torch.equal(first["features"], second["features"])


def test_too_few_images_on_a_rank_are_refused(run_ranks, folder):
    how = sections(train={"batch_size": 8})
    with pytest.raises(
        ConfigError, match=r"train\.batch_size is 8 on 3 ranks: .* 3 images .* raise it to 12"
    ):
        run_ranks(run, 3, small_config(folder, **how))


def test_stages_move_the_margin(run_ranks, folder):
    stages = [{"until_step": 8, "head.margin.margin": {"from": 0.0, "to": 0.5}}]
    run_ranks(run, 1, small_config(folder, **sections(stages=stages)))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0.2, "head.pool.size is 0.2, of 20 classes 4, but a batch of 20 has 5 identities"),
        (21, "head.pool.size is 21, more than the 20 classes of the data"),
    ],
)
def test_a_pool_that_does_not_fit_the_data_is_refused(folder, size, message):
    how = sections()
    how["head"]["pool"] = {"size": size}
    with pytest.raises(ConfigError, match=message):
        run(small_config(folder, **how))


def test_more_hard_negatives_than_classes_in_the_pool_are_refused(folder):
    how = sections()
    how["head"]["pool"] = {"size": 0.3, "hard_negatives": 7}  # of 20 classes
    message = (
        r"head\.pool\.hard_negatives is 7; it must be at most the classes in the pool, 6 \(head\.pool\.size"
    )
    with pytest.raises(ConfigError, match=message):
        run(small_config(folder, **how))


def test_a_pool_is_resumed_by_such_a_pool(folder):
    run(small_config(folder, **sections(train={"steps": 3})))
    (checkpoint,) = (folder / "run" / "checkpoints").glob("step-*")
    assert load_replicated(checkpoint, "pool/")["classes"].shape == (SIZE,)
    other = {"head": {"sample_rate": 1.0}, "train": {"batch_size": 20}}
    with pytest.raises(CheckpointError, match=r"head\.name pool -> partial_fc"):
        run(small_config(folder, **other))
    larger = sections()
    larger["head"]["pool"] = {"size": SIZE + 1}
    with pytest.raises(CheckpointError, match=r"of another run: head\.pool\.size 12\.0 -> 13\.0"):
        run(small_config(folder, **larger))


def test_a_run_on_an_accelerator_is_that_of_the_cpu(on_pretend, folder):
    there, here = run_here_and_there(on_pretend, folder, sections(exact=True))
    assert there["losses"] == pytest.approx(here["losses"], rel=1e-9)


def test_its_steps_wait_for_nothing(on_pretend, folder):
    expected = on_pretend(faults_of_steps, moved(folder, "head"), {})
    found = on_pretend(faults_of_steps, moved(folder, "pool"), sections())
    assert {fault.partition(" (")[0] for fault in found} <= {fault.partition(" (")[0] for fault in expected}


def test_the_config_that_comes_along_trains(run_ranks, folder):
    """configs/pool.yaml, as partialfc train CONFIG runs it, in small: its three ranks cut groups apart."""
    config = load_config(
        ROOT / "configs" / "pool.yaml",
        [
            f"run.dir={folder / 'run'}",
            f"data.train={folder / 'train.rec'}",
            "train.batch_size=20",
            "head.pool.size=0.5",
            *("train.steps=3", "schedule.warmup_steps=1", "train.log_every=1", "train.threads=1"),
            *("verification.sets={}", "metrics.port=null", "checkpoint.every_steps=100"),
        ],
    )
    run_ranks(run, 3, config)
    assert len(losses(folder)) == 3
