"""train.amp: float16 finds its loss scale, keeps it over a stop, and ends where no scale helps."""

from typing import Any

import pytest
import torch
from torch import Tensor

import partialfc
from partialfc.checkpoint import read_state
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.deploy.trained import load_trained
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from partialfc.training.loss_scale import LossScale
from tests.train_cases import small_config
from tests.training.cases import assert_same_end, losses, moved, run

LOUD = {"name": "tests.train_cases:Loud"}
FLOAT16 = {"amp": "float16", "steps": 30, "max_nonfinite_steps": 1}


def skipped(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record["event"] == "overflow"]


@pytest.mark.parametrize("world_size", [1, 2])
def test_the_scale_is_found_by_steps_that_do_not_count_as_bad(run_ranks, folder, world_size):
    write_pairs(folder / "pairs.bin", make_pairs(open_source(folder / "train.rec"), pairs=60, seed=0))
    sets = {"sets": {"seen": str(folder / "pairs.bin")}}
    config = small_config(folder, backbone=LOUD, train=FLOAT16, verification=sets)
    assert all(result["finished"] for result in run_ranks(run, world_size, config))
    records = read_metrics(folder / "run")
    overflows = skipped(records)
    assert [record["loss_scale"] for record in overflows[:3]] == [2.0**15, 2.0**14, 2.0**13]
    assert [record["total"] for record in overflows] == list(range(1, len(overflows) + 1))
    last = [record for record in records if record["event"] == "train"][-1]
    assert (last["nonfinite_steps"], last["overflow_steps"]) == (0, len(overflows))
    assert last["loss_scale"] == overflows[-1]["loss_scale"] > 1
    assert last["loss"] < 0.5 * [r["loss"] for r in records if r["event"] == "train"][len(overflows)]
    assert next(record["accuracy"] for record in records if record["event"] == "verification") > 0.8
    state = read_state(folder / "run" / "checkpoints" / "step-00000030")
    assert state["loss_scale"] == {
        "scale": last["loss_scale"],
        "growth_tracker": 30 - overflows[-1]["step"],
    }
    trained = load_trained(folder / "run", trust=["tests.train_cases"])
    assert {p.dtype for p in trained.backbone.parameters()} == {torch.float32}
    totals = state["metrics"][0]
    assert list(totals["partialfc_overflow_steps_total"].values()) == [len(overflows)]
    assert list(totals["partialfc_nonfinite_steps_total"].values()) == [0]


@pytest.mark.parametrize(("world_size", "at"), [(1, 4), (2, 12)])
def test_a_run_stopped_before_and_after_its_scale_is_found_goes_on_bit_for_bit(
    run_ranks, folder, world_size, at
):
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    expected = run_ranks(run, world_size, small_config(whole, backbone=LOUD, train=FLOAT16))
    stopping = LOUD | {"options": {"stop_at": at}}
    stopped = run_ranks(run, world_size, small_config(parts, backbone=stopping, train=FLOAT16))
    assert [result["step"] for result in stopped] == [at] * world_size
    resumed = run_ranks(run, world_size, small_config(parts, backbone=LOUD, train=FLOAT16))
    assert_same_end(expected, resumed)
    assert str(losses(parts)) == str(losses(whole))  # as text: a step that was skipped has no loss
    scales = [[record["loss_scale"] for record in skipped(read_metrics(p / "run"))] for p in (whole, parts)]
    assert scales[0] == scales[1]


def test_another_number_of_ranks_goes_on_with_the_scale(run_ranks, folder):
    stopping = LOUD | {"options": {"stop_at": 3}}
    run_ranks(run, 2, small_config(folder, backbone=stopping, train=FLOAT16))
    before = len(skipped(read_metrics(folder / "run")))
    assert before == 3
    run(small_config(folder, backbone=LOUD, train=FLOAT16))
    assert [r["loss_scale"] for r in skipped(read_metrics(folder / "run"))][before] == 2.0**12


def test_a_gradient_that_no_scale_helps_ends_the_run(rank_outcomes, folder):
    train = FLOAT16 | {"max_nonfinite_steps": 3, "steps": 60}
    backbone = {"name": "tests.train_cases:Exploding"}
    for outcome in rank_outcomes(run, 2, small_config(folder, backbone=backbone, train=train)):
        assert isinstance(outcome, partialfc.NonFiniteError)
        assert "3 steps in a row were not finite" in str(outcome)
        assert "The first was step 17: non-finite gradient on every rank" in str(outcome)  # scale 1
        assert "float16 holds nothing above 65,504" in str(outcome)
    assert len(skipped(read_metrics(folder / "run"))) == 16


def test_a_loss_that_is_not_finite_is_a_bad_step_and_leaves_the_scale(folder):
    backbone = {"name": "tests.train_cases:Poisoned", "options": {"steps": [2, 3]}}
    run(small_config(folder, backbone=backbone, train=FLOAT16 | {"max_nonfinite_steps": 3, "steps": 5}))
    records = read_metrics(folder / "run")
    assert [record["step"] for record in records if record["event"] == "nonfinite"] == [2, 3]
    scales = [record["loss_scale"] for record in records if record["event"] == "train"]
    assert scales[0] == scales[1] == scales[2]


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "lr": 0.1}, {"name": "adamw", "lr": 0.01}])
def test_a_step_that_overflows_leaves_no_trace(folder, optimizer):
    trainer = Trainer(
        small_config(folder, backbone=LOUD, train=FLOAT16, optimizer=optimizer), torch.device("cpu")
    )

    def everything() -> dict[str, Tensor]:
        tensors = trainer.state.tensors()
        return {name: t.clone() for part in (tensors.sharded, tensors.replicated) for name, t in part.items()}

    with trainer.running():
        before = everything()
        trainer._train_step()
        assert trainer.state.overflow_steps == 1
        after = everything()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name


GOOD, BAD = {"bad_loss": torch.tensor(False), "skip": torch.tensor(0.0)}, torch.tensor(1.0)


def test_a_scale_grows_again():
    scale = LossScale(torch.device("cpu"), enabled=True)
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for _ in range(2000):
        scale.backward(weight * 1.0)
        scale.unscale(optimizer)
        assert weight.grad == 1.0
        scale.update(**GOOD)
        optimizer.zero_grad()
    assert scale.value == 2.0**17
    other = LossScale(torch.device("cpu"), enabled=True)
    other.restore(scale.state())
    assert other.state() == {"scale": 2.0**17, "growth_tracker": 0}


def test_a_bad_gradient_halves_the_scale_and_a_bad_loss_leaves_it():
    scale = LossScale(torch.device("cpu"), enabled=True)
    scale.update(**GOOD)
    scale.update(bad_loss=torch.tensor(True), skip=BAD)
    assert scale.state() == {"scale": 2.0**16, "growth_tracker": 1}
    scale.update(bad_loss=torch.tensor(False), skip=BAD)
    assert scale.state() == {"scale": 2.0**15, "growth_tracker": 0}


def test_without_float16_there_is_no_scale():
    scale = LossScale(torch.device("cpu"), enabled=False)
    scale.update(bad_loss=torch.tensor(False), skip=BAD)
    scale.restore({"scale": 8.0, "growth_tracker": 1})
    assert (scale.value, scale.state()) == (1.0, None)
