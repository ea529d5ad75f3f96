"""`losses` of a run: they train beside the head, are told apart, and end with a resume as without."""

import shutil
from typing import Any

import pytest
import torch

import partialfc
from partialfc.distributed.device import local_device
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from tests.train_cases import small_config
from tests.training.cases import EXACT, INTERRUPTED, losses, moved, run

CENTRE = {"name": "center", "weight": 0.01, "alpha": 0.3}
ALONE = {
    "center": {"name": "center", "weight": 1.0, "normalise": True},
    "center_of_head": {"name": "center", "weight": 2.0, "centres": "head"},
    "contrastive": {"name": "contrastive", "weight": 5.0, "balanced": True},
    "angular_contrastive": {"name": "angular_contrastive", "weight": 5.0, "margin": 1.2},
    "triplet_all": {"name": "triplet", "weight": 2.0, "mining": "all"},
    "triplet_hard": {"name": "triplet", "weight": 2.0},
    "triplet_semihard": {"name": "triplet", "weight": 2.0, "mining": "semihard"},
}
EVERY = [CENTRE, ALONE["contrastive"], ALONE["angular_contrastive"], ALONE["triplet_all"]]


def lines(folder) -> list[dict[str, Any]]:
    return [record for record in read_metrics(folder / "run") if record["event"] == "train"]


def run_with_centres(config: Any) -> dict[str, Any]:
    """A whole run on this rank: what it left behind, the centre loss's own centres too."""
    trainer = Trainer(config, local_device(config.train.device))
    with trainer.running():
        finished = trainer.run()
    trainer.objective.head_optimizer.flush()
    return {
        "finished": finished,
        "rows": trainer.objective.head.weight.detach().clone(),
        "centres": trainer.objective.losses.sharded()["center/centres"].clone(),
        "backbone": [tensor.clone() for tensor in trainer.objective.backbone.state_dict().values()],
    }


def assert_same(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a["rows"], b["rows"])
        assert torch.equal(a["centres"], b["centres"])
        assert all(torch.equal(x, y) for x, y in zip(a["backbone"], b["backbone"], strict=True))


@pytest.mark.parametrize("name", ALONE)
def test_a_loss_beside_the_head_converges_with_it(folder, name):
    run(small_config(folder, head={"sample_rate": 1.0}, losses=[ALONE[name]], train={"steps": 40}))
    told = lines(folder)
    which = f"loss_{ALONE[name]['name']}"
    for key in ("loss", "loss_head", which):
        assert sum(line[key] for line in told[-5:]) < 0.6 * sum(line[key] for line in told[:5]), key
    for line in told:
        assert line["loss"] == pytest.approx(
            line["loss_head"] + ALONE[name]["weight"] * line[which], rel=1e-5
        )


def test_a_loss_of_weight_0_is_told_and_changes_nothing(folder):
    for place, given in (("with", [{**ALONE["triplet_all"], "weight": 0.0}]), ("without", [])):
        run(small_config(moved(folder, place), losses=given))
    assert losses(folder / "with") == losses(folder / "without")
    assert lines(folder / "with")[0]["loss_triplet"] > 0
    assert "loss_head" not in lines(folder / "without")[0]


def test_any_number_of_ranks_trains_alike(run_ranks, folder):
    """24 samples over 2 ranks, 25 over 3, in float64."""
    for batch, world_sizes in ((24, (1, 2)), (25, (1, 3))):
        curves = []
        for world_size in world_sizes:
            place, train = moved(folder, f"{batch}-{world_size}"), {"batch_size": batch, "steps": 6}
            run_ranks(run, world_size, small_config(place, **EXACT, losses=EVERY, train=train))
            curves.append(
                [(line["loss"], line["loss_center"], line["loss_triplet"]) for line in lines(place)]
            )
        for other in curves[1:]:
            assert torch.tensor(other) == pytest.approx(torch.tensor(curves[0]), abs=1e-9)


@pytest.mark.parametrize(
    ("world_size", "train"),
    [(1, {}), (2, {"accumulation": 2, "amp": "bfloat16"}), (2, {"amp": "float16"})],
    ids=["alone", "two ranks, bfloat16", "two ranks, float16"],
)
def test_a_run_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(run_ranks, folder, world_size, train):
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    given = {"losses": EVERY, "train": train}
    never, at = INTERRUPTED | {"options": {"at": 10**9}}, 7 * train.get("accumulation", 1)
    stops = INTERRUPTED | {"options": {"at": at}}
    expected = run_ranks(run_with_centres, world_size, small_config(whole, **given, backbone=never))
    stopped = run_ranks(run_with_centres, world_size, small_config(parts, **given, backbone=stops))
    assert not any(result["finished"] for result in stopped)
    resumed = run_ranks(run_with_centres, world_size, small_config(parts, **given, backbone=never))
    assert losses(parts) == losses(whole)
    assert_same(expected, resumed)
    assert expected[0]["centres"].any()


def stop_after_seven(config: Any) -> None:
    trainer = Trainer(config, torch.device("cpu"))
    with trainer.running():
        while trainer.state.step < 7:
            trainer._train_step()
            trainer._log()
        trainer._save()


@pytest.mark.parametrize("resumed_by", [1, 3])
def test_another_number_of_ranks_goes_on_with_the_centres(run_ranks, folder, resumed_by):
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    given = {**EXACT, "losses": EVERY}
    expected = run_ranks(run_with_centres, 2, small_config(whole, **given))
    run_ranks(stop_after_seven, 2, small_config(parts, **given))
    resumed = run_ranks(run_with_centres, resumed_by, small_config(parts, **given))
    centres = [torch.cat([result["centres"] for result in results]) for results in (expected, resumed)]
    torch.testing.assert_close(centres[0], centres[1], atol=1e-9, rtol=0)
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-9)


def test_a_checkpoint_without_the_centres_is_refused(folder):
    run(small_config(folder))
    config = small_config(folder, losses=[CENTRE], train={"steps": 20})
    with pytest.raises(
        partialfc.CheckpointError, match=r"it has no centres for the centre loss in losses .*; set them as"
    ):
        run(config)
    assert run(small_config(folder, losses=[ALONE["triplet_all"]], train={"steps": 20}))["step"] == 20


def centres_of_steps(config: Any) -> list[torch.Tensor]:
    """The centre loss's own centres after each of 4 steps."""
    trainer = Trainer(config, local_device(config.train.device))
    found = []
    with trainer.running():
        for _ in range(4):
            trainer._train_step()
            found.append(trainer.objective.losses.sharded()["center/centres"].clone())
    return found


POISONED = {"name": "tests.train_cases:Poisoned", "options": {"steps": [3], "rank": 1}}
EXPLODING = {"name": "tests.train_cases:Exploding"}


def test_a_bad_step_moves_no_centre_on_any_rank(run_ranks, folder):
    """Not finite in the forward pass of step 3 on one rank; and in every backward pass."""
    config = small_config(folder, backbone=POISONED, losses=[CENTRE])
    for found in run_ranks(centres_of_steps, 2, config):
        assert torch.equal(found[1], found[2])
        assert not torch.equal(found[0], found[1])
        assert not torch.equal(found[2], found[3])
    shutil.rmtree(folder / "run")
    config = small_config(folder, backbone=EXPLODING, losses=[CENTRE])
    for found in run_ranks(centres_of_steps, 2, config):
        assert not found[3].any()


def spoil_centres(config: Any) -> None:
    trainer = Trainer(config, torch.device("cpu"))
    trainer.objective.losses.sharded()["center/centres"].fill_(torch.inf)
    with trainer.running():
        trainer.run()


def test_a_loss_that_is_not_finite_is_named(rank_outcomes, folder):
    given = [ALONE["triplet_all"], CENTRE]
    config = small_config(folder, losses=given, train={"max_nonfinite_steps": 1})
    for outcome in rank_outcomes(spoil_centres, 2, config):
        assert isinstance(outcome, partialfc.NonFiniteError)
        assert "step 1: non-finite center loss on every rank" in str(outcome)


def test_a_weight_may_be_changed_between_steps(folder):
    trainer = Trainer(small_config(folder, losses=[ALONE["triplet_all"]]), torch.device("cpu"))
    with trainer.running():
        for weight in (2.0, 0.5, 0.0):
            trainer.objective.losses.weights["triplet"] = weight
            trainer._train_step()
            trainer._log()
    for line, weight in zip(lines(folder), (2.0, 0.5, 0.0), strict=True):
        assert line["loss"] == pytest.approx(line["loss_head"] + weight * line["loss_triplet"], rel=1e-5)


def test_each_loss_is_a_metric(folder):
    trainer = Trainer(small_config(folder, losses=EVERY), torch.device("cpu"))
    with trainer.running():
        trainer.run()
    found = {
        sample.labels["loss"]: sample.value
        for metric in trainer.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "partialfc_loss_term"
    }
    assert found == {name: lines(folder)[-1][f"loss_{name}"] for name in trainer.objective.losses.terms}


def exchanged(config: Any) -> dict[str, float]:
    """A run's calls of collectives on this rank, by kind, as its metrics count them."""
    trainer = Trainer(config, torch.device("cpu"))
    with trainer.running():
        trainer.run()
    totals = trainer.metrics.registry.totals()["partialfc_collective_calls_total"]
    return {kind: totals[kind] for kind in ("reduce_scatter", "all_to_all")}


def test_what_a_loss_exchanges_is_counted(run_ranks, folder):
    train = {"train": {"steps": 3}}
    without = run_ranks(exchanged, 2, small_config(moved(folder, "without"), **train))
    beside = run_ranks(
        exchanged, 2, small_config(moved(folder, "with"), **train, losses=[ALONE["triplet_all"]])
    )
    assert [each["reduce_scatter"] for each in without] == [3, 3]
    assert [each["reduce_scatter"] for each in beside] == [6, 6]


def test_batches_that_have_hardly_any_pair_are_told(folder, caplog):
    few = {"batch_size": 4, "steps": 3}
    run(small_config(folder, losses=[ALONE["triplet_hard"], CENTRE], train=few))
    told = [record.message for record in caplog.records if "data.sampler" in record.message]
    assert told == [
        "losses: triplet takes two samples of one class, and a random batch of 4 images of 20 classes has "
        "few: data.sampler: identities draws batches of them"
    ]
    caplog.clear()
    draws = {"sampler": "identities", "images_per_identity": 2}
    run(small_config(moved(folder, "drawn"), losses=[ALONE["triplet_hard"]], train=few, data=draws))
    assert not [record for record in caplog.records if "data.sampler" in record.message]
