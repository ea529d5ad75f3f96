"""Whole runs: resuming bit for bit, at another world size, non-finite steps, bad input."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import partialfc
from partialfc.checkpoint import read_state
from partialfc.config import load_config
from partialfc.data.images.codec import encode_png
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.deploy.trained import load_trained
from partialfc.distributed import World
from partialfc.distributed.device import local_device
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from partialfc.training.run import train
from partialfc.training.run_folder import run_lock
from tests import train_cases
from tests.train_cases import small_config


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    train_cases.write_data(folder)
    return folder


@pytest.fixture
def folder(data, tmp_path):
    for name in ("train.rec", "train.idx", "property"):
        (tmp_path / name).symlink_to(data / name)
    return tmp_path


def run(config: Any) -> dict[str, Any]:
    """A whole run on this rank; what it left behind."""
    trainer = Trainer(config, local_device(config.train.device))
    with trainer.running():
        finished = trainer.run()
    trainer.state.head_optimizer.flush()
    return {
        "finished": finished,
        "step": trainer.state.step,
        "samples": trainer.state.samples,
        "rows": trainer.head.weight.detach().clone(),
        "backbone": {name: t.clone() for name, t in trainer.state.backbone.state_dict().items()},
    }


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_metrics(folder / "run") if record["event"] == "train"]


def assert_same_end(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a["rows"], b["rows"])
        for name, tensor in a["backbone"].items():
            assert torch.equal(tensor, b["backbone"][name]), name


def moved(folder: Path, name: str) -> Path:
    """A second run folder beside the first one's data."""
    other = folder / name
    other.mkdir()
    for file in ("train.rec", "train.idx", "property"):
        (other / file).symlink_to((folder / file).resolve())
    return other


INTERRUPTED = {"name": "tests.train_cases:Interrupted", "options": {"at": 7}}


@pytest.mark.parametrize(
    ("world_size", "sections"),
    [
        (1, {}),
        (2, {}),
        (3, {}),
        (2, {"data": {"workers": 2, "augment": {"flip": True, "shift": 0.1, "rotate": 5.0}}}),
        (2, {"train": {"accumulation": 2}, "head": {"unsampled": "frozen"}}),
        (1, {"optimizer": {"name": "adamw", "lr": 0.01}}),
        (2, {"train": {"amp": "bfloat16"}}),
    ],
)
def test_a_run_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(run_ranks, folder, world_size, sections):
    """SIGTERM in step 7 of 12, in the middle of an epoch, then the same command again."""
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    at = 7 * sections.get("train", {}).get("accumulation", 1)
    never = {"backbone": INTERRUPTED | {"options": {"at": 10**9}}}
    expected = run_ranks(run, world_size, small_config(whole, **sections, **never))
    stopped = run_ranks(
        run,
        world_size,
        small_config(parts, **sections, backbone=INTERRUPTED | {"options": {"at": at}}),
    )
    assert [result["finished"] for result in stopped] == [False] * world_size
    assert [result["step"] for result in stopped] == [7] * world_size
    resumed = run_ranks(run, world_size, small_config(parts, **sections, **never))
    assert all(result["finished"] for result in resumed)
    assert losses(parts) == losses(whole)
    assert_same_end(expected, resumed)


def test_a_kill_between_checkpoints_resumes_from_the_last_one(run_ranks, folder):
    """kill -9 in step 7: steps 6 and 7 are done again, and metrics.jsonl shows each step once."""
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    every = {"checkpoint": {"every_steps": 5}}
    expected = [run(small_config(whole, **every))]
    config = small_config(parts, **every, backbone=INTERRUPTED | {"options": {"at": 7, "kill": True}})
    context = torch.multiprocessing.get_context("spawn")
    process = context.Process(target=run, args=(config,))
    process.start()
    process.join()
    assert process.exitcode == -9
    resumed = [run(small_config(parts, **every))]
    assert losses(parts) == losses(whole)
    assert_same_end(expected, resumed)


EXACT = {
    "backbone": {"name": "tests.train_cases:Tiny", "options": {"double": True}},
    "head": {"sample_rate": 1.0, "weight_dtype": "float64", "compute_dtype": "float64"},
}


def test_every_world_size_trains_alike(run_ranks, folder):
    """In float64 at r = 1, uneven batches included (24 samples over 1, 2, 3, 4 ranks; 25 over 4)."""
    for batch in (24, 25):
        curves = {}
        for world_size in (1, 2, 3, 4):
            place = moved(folder, f"{batch}-{world_size}")
            run_ranks(run, world_size, small_config(place, **EXACT, train={"batch_size": batch}))
            curves[world_size] = losses(place)
        for world_size in (2, 3, 4):
            assert curves[world_size] == pytest.approx(curves[1], abs=1e-9)


@pytest.mark.parametrize("resumed_by", [1, 2, 3, 4])
def test_three_ranks_write_and_any_number_resumes(run_ranks, folder, resumed_by):
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    expected = run_ranks(run, 3, small_config(whole, **EXACT))
    config = small_config(parts, **EXACT)
    run_ranks(stop_after_seven, 3, config)
    resumed = run_ranks(run, resumed_by, config)
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-9)
    assert {result["samples"] for result in resumed} == {12 * 24}
    rows = [torch.cat([result["rows"] for result in results]) for results in (expected, resumed)]
    torch.testing.assert_close(rows[0], rows[1], atol=1e-9, rtol=0)


def stop_after_seven(config: Any) -> None:
    trainer = Trainer(config, torch.device("cpu"))
    with trainer.running():
        while trainer.state.step < 7:
            trainer._train_step()
            trainer._log()
        trainer._save()


def test_more_folds_than_pairs_are_refused_before_training(folder):
    pairs = make_pairs(open_source(folder / "train.rec"), pairs=20, seed=0)
    write_pairs(folder / "pairs.bin", pairs)
    sets = {"sets": {"few": str(folder / "pairs.bin")}, "folds": 21}
    with pytest.raises(partialfc.ConfigError, match=r"folds is 21, but the set 'few' has 20 pairs"):
        Trainer(small_config(folder, verification=sets), torch.device("cpu"))


def test_centres_that_no_memory_holds_are_refused(folder):
    config = small_config(folder, data={"num_classes": 10**12})
    with pytest.raises(
        partialfc.ConfigError, match=r"num_classes is 1,000,000,000,000: centres of .* do not"
    ):
        Trainer(config, torch.device("cpu"))


def test_a_batch_of_one_cannot_be_normalised(folder):
    config = small_config(folder, train={"batch_size": 1}, backbone={"name": "convnet"})
    with pytest.raises(partialfc.ConfigError, match=r"batch_size is 1 on 1 ranks.* at least 2 are needed"):
        Trainer(config, torch.device("cpu"))


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


def test_epochs_come_from_the_data(folder):
    result = run(small_config(folder, train={"steps": None, "epochs": 1.5}))
    assert result["step"] == math.ceil(1.5 * 120 / 24)
    assert read_metrics(folder / "run")[-2]["epoch"] == pytest.approx(8 * 24 / 120)


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_nonfinite_step_is_skipped_everywhere_and_leaves_no_trace(run_ranks, folder, world_size):
    """NaN on the last rank in steps 3 and 4: no parameter, no running statistic is spoilt."""
    poison = {"steps": [3, 4], "rank": world_size - 1}
    backbone = {"name": "tests.train_cases:Poisoned", "options": poison}
    for result in run_ranks(run, world_size, small_config(folder, backbone=backbone)):
        assert result["finished"]
        assert all(torch.isfinite(t).all() for t in result["backbone"].values())
        assert torch.isfinite(result["rows"]).all()
    records = read_metrics(folder / "run")
    skipped = [record for record in records if record["event"] == "nonfinite"]
    assert [record["step"] for record in skipped] == [3, 4]
    assert f"step 3: non-finite embedding norm on rank {world_size - 1}" in skipped[0]["cause"]
    assert records[-2]["nonfinite_steps"] == 2
    assert math.isnan([r for r in records if r["event"] == "train"][2]["loss"])


@pytest.mark.parametrize(
    ("backbone", "cause"),
    [
        (
            {"name": "tests.train_cases:Poisoned", "options": {"steps": list(range(4, 99)), "rank": 1}},
            "step 4: non-finite embedding norm on rank 1",
        ),
        ({"name": "tests.train_cases:Exploding"}, "step 1: non-finite gradient on every rank"),
    ],
)
def test_too_many_nonfinite_steps_end_the_run_with_a_diagnosis(rank_outcomes, folder, backbone, cause):
    config = small_config(folder, backbone=backbone, train={"max_nonfinite_steps": 3})
    for outcome in rank_outcomes(run, 2, config):
        assert isinstance(outcome, partialfc.NonFiniteError)
        assert "3 steps in a row were not finite, the most that train.max_nonfinite_steps" in str(outcome)
        assert cause in str(outcome)


def spoil_centres(config: Any) -> None:
    trainer = Trainer(config, torch.device("cpu"))
    if trainer.world.rank == 1:
        with torch.no_grad():
            trainer.head.weight[0] = torch.nan
    with trainer.running():
        trainer.run()


def test_a_nonfinite_centre_is_told_from_a_nonfinite_embedding(rank_outcomes, folder):
    config = small_config(folder, head={"sample_rate": 1.0}, train={"max_nonfinite_steps": 1})
    for outcome in rank_outcomes(spoil_centres, 2, config):
        assert "non-finite centres on rank 1" in str(outcome)


def test_verification_finds_the_best_checkpoint_and_keeps_it(folder):
    source = open_source(folder / "train.rec")
    write_pairs(folder / "pairs.bin", make_pairs(source, pairs=200, seed=0))
    verification = {"sets": {"seen": str(folder / "pairs.bin")}, "every_steps": 4, "at_start": True}
    config = small_config(
        folder, verification=verification, train={"steps": 40}, checkpoint={"every_steps": 4, "keep_last": 1}
    )
    run(config)
    records = [r for r in read_metrics(folder / "run") if r["event"] == "verification"]
    assert [record["step"] for record in records] == [0, *range(4, 44, 4)]
    assert records[-1]["accuracy"] > records[0]["accuracy"]
    best = max(records[1:], key=lambda record: record["accuracy"])
    checkpoints = folder / "run" / "checkpoints"
    assert (checkpoints / "best").read_text() == f"step-{best['step']:08d}"
    kept = {path.name for path in checkpoints.glob("step-*")}
    assert kept == {f"step-{best['step']:08d}", "step-00000040"}
    assert read_state(checkpoints / "step-00000040")["best"] == best["accuracy"]


def test_the_trained_backbone_is_loaded_for_use(folder):
    result = run(small_config(folder))
    trained = load_trained(folder / "run")
    assert trained.step == 12
    assert (trained.image_size, trained.channels, trained.embedding_size) == (8, 1, 16)
    for name, tensor in trained.backbone.state_dict().items():
        assert torch.equal(tensor, result["backbone"][name])


def test_the_resolved_config_is_saved_with_the_run(folder):
    config = small_config(folder)
    run(config)
    assert load_config(folder / "run" / "config.yaml") == config


def test_a_finished_run_is_not_run_again(folder):
    run(small_config(folder))
    before = (folder / "run" / "metrics.jsonl").read_text()
    assert run(small_config(folder))["finished"]
    assert (folder / "run" / "metrics.jsonl").read_text() == before


def test_a_run_can_be_made_longer(folder):
    run(small_config(folder))
    assert run(small_config(folder, train={"steps": 20}))["step"] == 20


def test_another_run_starts_from_a_named_checkpoint(folder):
    run(small_config(folder))
    other = {"run": {"dir": str(folder / "other")}, "checkpoint": {"resume": str(folder / "run")}}
    assert run(small_config(folder, **other, train={"steps": 15}))["step"] == 15
    assert (folder / "other" / "checkpoints" / "step-00000015").is_dir()


def test_a_fresh_start_over_old_checkpoints_is_refused(folder):
    run(small_config(folder))
    with pytest.raises(partialfc.ConfigError, match=r"checkpoint\.resume is never, but .* holds checkpoints"):
        run(small_config(folder, checkpoint={"resume": "never"}))


def test_another_number_of_classes_is_refused(folder):
    run(small_config(folder))
    with pytest.raises(partialfc.CheckpointError, match="num_classes 20, this run has 21"):
        run(small_config(folder, data={"num_classes": 21}))
    with pytest.raises(partialfc.ConfigError, match=r"data\.num_classes is 19, but .* has 20 classes"):
        run(small_config(folder, data={"num_classes": 19}))


def test_changed_settings_are_named_on_resume(folder, caplog):
    run(small_config(folder))
    run(small_config(folder, optimizer={"lr": 0.05}, train={"steps": 14}))
    assert "train.steps 12 -> 14" in caplog.text
    assert "optimizer.lr 0.1 -> 0.05" in caplog.text


def test_a_run_folder_serves_one_run_at_a_time(folder):
    config = small_config(folder)
    message = rf"is in use by process {os.getpid()} on"
    with run_lock(config.run.dir, World.of()), pytest.raises(partialfc.ConfigError, match=message):
        train(config)
    assert train(config) == 0


def test_a_run_folder_that_cannot_be_made_is_named(folder):
    (folder / "file").write_text("")
    with pytest.raises(
        partialfc.ConfigError, match=r"run\.dir is .*file/run, which cannot be a run's folder"
    ):
        run(small_config(folder, run={"dir": str(folder / "file" / "run")}))


def test_a_damaged_class_index_is_named(tmp_path):
    (tmp_path / "images" / "ape").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "classes.json").write_text('{"a":')
    with pytest.raises(partialfc.CheckpointError, match=r"classes\.json is damaged"):
        run(small_config(tmp_path, data={"train": str(tmp_path / "images")}))


def test_bad_bytes_in_the_metrics_do_not_stop_a_run(folder):
    run(small_config(folder))
    with (folder / "run" / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff\xfe{}\n[1]\n")
    assert run(small_config(folder, train={"steps": 14}))["finished"]


def test_more_ranks_than_samples_are_refused(rank_outcomes, folder):
    for outcome in rank_outcomes(run, 3, small_config(folder, train={"batch_size": 2})):
        assert "train.batch_size is 2, but there are 3 ranks" in str(outcome)


def test_another_optimizer_is_refused(folder):
    run(small_config(folder))
    with pytest.raises(partialfc.CheckpointError, match="written with another head or optimizer"):
        run(small_config(folder, optimizer={"name": "adamw", "lr": 0.01}))


def test_tensorboard_gets_the_same_numbers(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(small_config(folder, train={"tensorboard": True}))
    events = EventAccumulator(str(folder / "run" / "tensorboard")).Reload()
    logged = [event.value for event in events.Scalars("train/loss")]
    assert logged == pytest.approx(losses(folder), rel=1e-6)


def test_initial_weights_are_taken_over(folder):
    result = run(small_config(folder))
    torch.save(result["backbone"], folder / "weights.pt")
    start = {"run": {"dir": str(folder / "b")}, "backbone": {"weights": str(folder / "weights.pt")}}
    trainer = Trainer(small_config(folder, **start), torch.device("cpu"))
    for name, tensor in trainer.state.backbone.state_dict().items():
        assert torch.equal(tensor, result["backbone"][name])
    torch.save({"nothing": torch.zeros(1)}, folder / "other.pt")
    with pytest.raises(partialfc.CheckpointError, match=r"backbone\.weights .*other\.pt"):
        run(small_config(folder, backbone={"weights": str(folder / "other.pt")}))


def test_compiled_and_channels_last_backbones_train(folder):
    config = small_config(folder, backbone={"compile": True, "channels_last": True}, train={"steps": 3})
    assert run(config)["finished"]
    assert load_trained(folder / "run").step == 3


def test_image_folders_keep_their_class_ids(tmp_path):
    """A class that appears later is refused; one whose images are gone keeps its number."""
    rng = np.random.default_rng(0)
    for name in ("ape", "bee", "cat"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 255, (8, 8, 1), dtype=np.uint8)
            (tmp_path / "images" / name / f"{i}.png").write_bytes(encode_png(pixels))
    options = {"data": {"train": str(tmp_path / "images")}, "train": {"batch_size": 4, "steps": 4}}
    run(small_config(tmp_path, **options))
    assert json.loads((tmp_path / "run" / "classes.json").read_text()) == ["ape", "bee", "cat"]
    (tmp_path / "images" / "ant").mkdir()
    (tmp_path / "images" / "ant" / "0.png").write_bytes((tmp_path / "images" / "ape" / "0.png").read_bytes())
    with pytest.raises(partialfc.DataError, match="ant: not among the 3 known classes"):
        run(small_config(tmp_path, **options, checkpoint={"every_steps": 1}))


def test_a_bad_record_is_named_on_the_way_out(folder):
    (folder / "train.rec").unlink()
    content = bytearray((folder / "train.idx").resolve().with_suffix(".rec").read_bytes())
    place = content.find(b"IHDR", len(content) // 2)
    content[place : place + 4] = b"XXXX"
    (folder / "train.rec").write_bytes(content)
    with pytest.raises(partialfc.ImageError, match=r"train\.rec record \d+"):
        run(small_config(folder))


def test_train_needs_no_process_group(folder, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert train(small_config(folder)) == 0
    assert not torch.distributed.is_initialized()
