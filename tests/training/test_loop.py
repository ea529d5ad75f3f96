"""Whole runs: at every world size alike, in micro-batches, by the schedule, from given weights."""

import math
from typing import Any

import pytest
import torch

import partialfc
from partialfc.config import load_config
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.deploy.trained import load_trained
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from tests.train_cases import small_config
from tests.training.cases import EXACT, assert_same_end, losses, moved, run, run_and_count_compilations


@pytest.mark.parametrize(("batch", "sample_rate"), [(24, 1.0), (25, 1.0), (24, 0.3)])
def test_every_world_size_trains_alike(run_ranks, folder, batch, sample_rate):
    """In float64, uneven batches included (24 samples over 1, 2, 3, 4 ranks; 25 over 4)."""
    curves = {}
    for world_size in (1, 2, 3, 4):
        place = moved(folder, str(world_size))
        config = small_config(place, f"head.sample_rate={sample_rate}", **EXACT, train={"batch_size": batch})
        run_ranks(run, world_size, config)
        curves[world_size] = losses(place)
    for world_size in (2, 3, 4):
        assert curves[world_size] == pytest.approx(curves[1], abs=1e-9)


def test_accumulated_micro_batches_train_as_one_batch(folder):
    one, four = moved(folder, "one"), moved(folder, "four")
    first = run(small_config(one, **EXACT))
    second = run(small_config(four, **EXACT, train={"batch_size": 6, "accumulation": 4}))
    assert first["samples"] == second["samples"]
    torch.testing.assert_close(first["rows"], second["rows"], atol=1e-9, rtol=0)
    assert losses(four) == pytest.approx(losses(one), abs=1e-9)


def test_the_first_step_of_a_warmup_is_small_and_the_run_follows_the_schedule(folder):
    run(small_config(folder, schedule={"warmup_steps": 5}))
    rates = [r["lr"] for r in read_metrics(folder / "run") if r["event"] == "train"]
    assert rates[0] == pytest.approx(0.1 / 5)
    assert max(rates) == pytest.approx(0.1)
    assert rates == sorted(rates[:5]) + sorted(rates[5:], reverse=True)


@pytest.mark.parametrize("milestones", [{"milestone_steps": [5, 8]}, {"milestone_epochs": [1, 1.5]}], ids=str)
def test_the_rate_falls_at_milestones(folder, milestones):
    """An epoch has 5 steps; step s is logged as s + 1, with the rate that it had."""
    schedule = {"name": "step", "warmup_steps": 2, "gamma": 0.5, **milestones}
    run(small_config(folder, schedule=schedule))
    rates = [r["lr"] for r in read_metrics(folder / "run") if r["event"] == "train"]
    assert rates == pytest.approx([0.05, *[0.1] * 4, *[0.05] * 3, *[0.025] * 4])


def test_epochs_come_from_the_data(folder):
    result = run(small_config(folder, train={"steps": None, "epochs": 1.5}))
    assert result["step"] == math.ceil(1.5 * 120 / 24)
    last = [r for r in read_metrics(folder / "run") if r["event"] == "train"][-1]
    assert last["epoch"] == pytest.approx(8 * 24 / 120)


def test_the_resolved_config_is_saved_with_the_run(folder):
    config = small_config(folder)
    run(config)
    assert load_config(folder / "run" / "config.yaml") == config


def test_initial_weights_are_taken_over(folder):
    result = run(small_config(folder))
    torch.save(result["backbone"], folder / "weights.pt")
    for number, path in enumerate(("weights.pt", "run", "run/checkpoints/step-00000012")):
        start = {"run": {"dir": str(folder / f"b{number}")}, "backbone": {"weights": str(folder / path)}}
        trainer = Trainer(small_config(folder, **start), torch.device("cpu"))
        for name, tensor in trainer.objective.backbone.state_dict().items():
            assert torch.equal(tensor, result["backbone"][name])
    torch.save({"nothing": torch.zeros(1)}, folder / "other.pt")
    (folder / "empty").mkdir()
    nothing = "neither a checkpoint nor a run with checkpoints"
    for path, problem in (
        ("other.pt", ".*of another network"),
        ("empty", f"{nothing}$"),
        ("absent", f"{nothing}, nor a file of weights; it does not exist$"),
    ):
        with pytest.raises(
            partialfc.CheckpointError, match=rf"^backbone\.weights: {folder}/{path}: {problem}"
        ):
            run(small_config(folder, backbone={"weights": str(folder / path)}))


COMPILED: dict[str, Any] = {  # with verifications, whose batches have other sizes
    "backbone": {"compile": True, "channels_last": True},
    "train": {"batch_size": 12, "accumulation": 2, "steps": 4},
    "verification": {"at_start": True, "every_steps": 2},
}


def compiled_config(folder, **sections):
    write_pairs(folder / "pairs.bin", make_pairs(open_source(folder / "train.rec"), pairs=10, seed=0))
    verification = COMPILED["verification"] | {"sets": {"seen": str(folder / "pairs.bin")}}
    return small_config(folder, **COMPILED | {"verification": verification} | sections)


def test_a_compiled_channels_last_backbone_trains_and_is_compiled_once(folder):
    result, compilations = run_and_count_compilations(compiled_config(folder))
    assert result["finished"]
    assert compilations == 1
    assert load_trained(folder / "run", trust=["tests.train_cases"]).step == 4


@pytest.mark.slow
def test_two_ranks_compile_a_backbone_once_and_resume_it(run_ranks, folder):
    """The pass that settles DDP's buckets is one as in training, and leaves no trace."""
    constant = {"schedule": {"name": "constant", "warmup_steps": 0}}
    results = run_ranks(run_and_count_compilations, 2, compiled_config(folder, **constant))
    assert [compilations for _, compilations in results] == [1, 1]
    whole = [result for result, _ in results]
    assert whole[0]["backbone"]["features.1.num_batches_tracked"] == 2 * 4
    parts = moved(folder, "parts")
    run_ranks(run, 2, compiled_config(parts, **constant, train=COMPILED["train"] | {"steps": 2}))
    assert_same_end(whole, run_ranks(run, 2, compiled_config(parts, **constant)))


@pytest.mark.slow
def test_two_ranks_train_a_compiled_backbone(run_ranks, folder):
    """In micro-batches, of which the last alone reduces the gradients, and as the uncompiled one does."""
    small = {**EXACT, "train": {"batch_size": 12, "accumulation": 2, "steps": 4}}
    compiled = small | {"backbone": EXACT["backbone"] | {"compile": True}}
    plain, fast = moved(folder, "plain"), moved(folder, "fast")
    run(small_config(plain, **small))
    results = run_ranks(run, 2, small_config(fast, **compiled))
    assert losses(fast) == pytest.approx(losses(plain), abs=1e-9)
    for name, tensor in results[0]["backbone"].items():
        assert torch.equal(tensor, results[1]["backbone"][name])


def test_a_bad_record_is_named_on_the_way_out(folder):
    (folder / "train.rec").unlink()
    content = bytearray((folder / "train.idx").resolve().with_suffix(".rec").read_bytes())
    place = content.find(b"IHDR", len(content) // 2)
    content[place : place + 4] = b"XXXX"
    (folder / "train.rec").write_bytes(content)
    with pytest.raises(partialfc.ImageError, match=r"train\.rec record \d+"):
        run(small_config(folder))
