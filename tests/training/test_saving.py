"""Resuming: bit for bit, at another world size, with other settings; and the best checkpoint."""

import shutil
from typing import Any

import pytest
import torch

import partialfc
from partialfc.checkpoint import read_state
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.metrics.run_log import read_metrics
from tests.glyph_run import steps_done
from tests.train_cases import small_config
from tests.training.cases import EXACT, INTERRUPTED, assert_same_end, losses, moved, run, stop_after_seven

BIAS: dict[str, Any] = {"margin": {"name": "softmax", "bias": True}}
KINDS = {"bias": BIAS, "sub-centres": {"sub_centers": 3}, "plain": {"margin": {"name": "softmax"}}}


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
        (2, {"train": {"amp": "float16"}}),
        (2, {"data": {"sampler": "identities", "images_per_identity": 4}}),
        (1, {"head": BIAS}),
        (2, {"head": BIAS | {"sub_centers": 2}, "optimizer": {"name": "adamw", "lr": 0.01}}),
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


def test_three_ranks_write_and_any_number_resumes(run_ranks, folder):
    whole, written = moved(folder, "whole"), moved(folder, "written")
    expected = run_ranks(run, 3, small_config(whole, **EXACT))
    run_ranks(stop_after_seven, 3, small_config(written, **EXACT))
    for resumed_by in (1, 2, 3, 4):
        parts = moved(folder, f"by {resumed_by}")
        shutil.copytree(written / "run", parts / "run")
        resumed = run_ranks(run, resumed_by, small_config(parts, **EXACT))
        assert losses(parts) == pytest.approx(losses(whole), abs=1e-9)
        assert {result["samples"] for result in resumed} == {12 * 24}
        rows = [torch.cat([result["rows"] for result in results]) for results in (expected, resumed)]
        torch.testing.assert_close(rows[0], rows[1], atol=1e-9, rtol=0)


@pytest.mark.parametrize("optimizer", [{}, {"name": "adamw", "lr": 0.01}], ids=["sgd", "adamw"])
def test_a_bias_and_sub_centres_go_to_another_number_of_ranks(run_ranks, folder, optimizer):
    head = EXACT["head"] | BIAS | {"sub_centers": 2}
    sections = EXACT | {"head": head, "optimizer": optimizer}
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    expected = run_ranks(run, 2, small_config(whole, **sections))
    config = small_config(parts, **sections)
    run_ranks(stop_after_seven, 2, config)
    resumed = run_ranks(run, 3, config)
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-9)
    for name in ("rows", "bias"):
        joined = [torch.cat([result[name] for result in results]) for results in (expected, resumed)]
        torch.testing.assert_close(*joined, atol=1e-9, rtol=0)
    assert joined[0].abs().max() > 0


@pytest.mark.parametrize(
    ("saved", "own", "message"),
    [
        ("bias", "plain", r"it has a bias of each class, and .*, softmax, has none"),
        ("plain", "bias", r"it has no bias of each class, and this run's head\.margin, softmax, has one"),
        ("sub-centres", "plain", r"head\.sub_centers 3 -> 1"),
        ("plain", "sub-centres", r"head\.sub_centers 1 -> 3"),
    ],
)
def test_another_kind_of_head_is_refused(folder, saved, own, message):
    config = small_config(folder, head=KINDS[saved], train={"steps": 3})
    run(config)
    with pytest.raises(partialfc.CheckpointError, match=f"3: it is of another run: .*{message}"):
        run(small_config(folder, head=KINDS[own], train={"steps": 3}))


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


def test_a_run_taken_back_goes_on_from_there_and_when_started_again(folder, caplog):
    """A rollback after a divergence, in a job that a cluster requeues: saved where higher steps lie."""
    every = {"every_steps": 3, "keep_last": 2}
    run(small_config(folder, checkpoint=every))
    checkpoints = folder / "run" / "checkpoints"
    back = every | {"every_steps": 1, "resume": str(checkpoints / "step-00000009")}
    backbone = INTERRUPTED | {"options": {"at": 1}}
    stopped = run(small_config(folder, checkpoint=back, backbone=backbone))
    assert (stopped["finished"], stopped["step"]) == (False, 10)
    assert "step-00000012" in caplog.text
    assert (checkpoints / "latest").read_text() == "step-00000010"
    assert {path.name for path in checkpoints.glob("step-*")} == {"step-00000009", "step-00000010"}
    again = run(small_config(folder, checkpoint=back, train={"steps": 11}))
    assert again["step"] == 11
    assert "from which this run began before: it goes on" in caplog.text
    assert steps_done(folder / "run") == list(range(1, 12))


def test_a_run_begun_from_another_is_saved_in_its_own_folder(folder):
    """Also where nothing is left to train."""
    run(small_config(folder))
    other = {"run": {"dir": str(folder / "other")}, "checkpoint": {"resume": str(folder / "run")}}
    assert run(small_config(folder, **other))["finished"]
    assert (folder / "other" / "checkpoints" / "step-00000012").is_dir()


def test_a_fresh_start_over_old_checkpoints_is_refused(folder):
    run(small_config(folder))
    with pytest.raises(partialfc.ConfigError, match=r"checkpoint\.resume is never, but .* holds checkpoints"):
        run(small_config(folder, checkpoint={"resume": "never"}))


def test_a_fresh_start_over_damaged_checkpoints_is_refused_alike(folder):
    run(small_config(folder))
    (folder / "run" / "checkpoints" / "step-00000012" / "state.json").write_text("torn")
    with pytest.raises(partialfc.ConfigError, match="holds checkpoints"):
        run(small_config(folder, checkpoint={"resume": "never"}))


def test_another_number_of_classes_is_refused(folder):
    run(small_config(folder))
    with pytest.raises(partialfc.CheckpointError, match=r"other classes: number of classes 20 -> 21 \("):
        run(small_config(folder, data={"num_classes": 21}))
    with pytest.raises(partialfc.ConfigError, match=r"data\.num_classes is 19, but .* has 20 classes"):
        run(small_config(folder, data={"num_classes": 19}))


def test_changed_settings_are_named_on_resume(folder, caplog):
    run(small_config(folder))
    run(small_config(folder, optimizer={"lr": 0.05}, train={"steps": 14}))
    assert "train.steps 12 -> 14" in caplog.text
    assert "optimizer.lr 0.1 -> 0.05" in caplog.text


def test_another_optimizer_is_refused(folder):
    run(small_config(folder))
    with pytest.raises(partialfc.CheckpointError, match=r"optimizer\.name sgd -> adamw; set them as"):
        run(small_config(folder, optimizer={"name": "adamw", "lr": 0.01}))
