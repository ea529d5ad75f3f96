"""Stages in whole runs: what the head gets, a resume bit for bit through borders and lines, and the log."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from partialfc.errors import ConfigError
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from tests.metrics.cases import samples, text_of
from tests.train_cases import small_config
from tests.training.cases import (
    EXACT,
    assert_same_end,
    losses,
    moved,
    run,
    run_and_count_compilations,
    stop_after_seven,
)

LINE = {"from_step": 4, "until_step": 10, "head.margin.margin": {"from": 0.0, "to": 0.6}}
BORDER = {"from_step": 7, "head.sample_rate": 1.0, "head.margin.scale": 24.0, "head.interclass_filter": 0.6}


def config_of(folder: Path, *overrides: str, stages: list[dict[str, Any]], **sections: Any) -> Any:
    return small_config(folder, *overrides, f"stages={json.dumps(stages)}", **sections)


def steps_of(config: Any) -> list[tuple[float, float, float | None]]:
    """The margin's number, the sample rate and the filter of the head in each step of a run."""
    trainer = Trainer(config, torch.device("cpu"))
    found = []
    with trainer.running():
        while trainer.state.step < trainer.total_steps:
            trainer._train_step()
            head = trainer.objective.head
            found.append((round(head.margin.m2, 6), head.sample_rate, head.interclass_filter))
    return found


def test_the_head_has_in_each_step_what_the_stages_say(folder):
    found = steps_of(config_of(folder, stages=[LINE, BORDER]))
    assert [margin for margin, _, _ in found] == [0.2] * 4 + [0.0, 0.1, 0.2, 0.3, 0.4, 0.5] + [0.2] * 2
    assert [rest for _, *rest in found] == [[0.5, None]] * 7 + [[1.0, 0.6]] * 5


def test_a_loss_beside_the_heads_has_the_weight_of_the_stage(folder):
    """A stage's weight of 0 from the first step on is a run of weight 0."""
    losses_of = {"losses": [{"name": "triplet", "weight": 0.5}]}
    line = {"from_step": 2, "until_step": 6, "losses.triplet.weight": {"from": 0.5, "to": 2.5}}
    trainer = Trainer(config_of(folder, stages=[line], **losses_of), torch.device("cpu"))
    weights = []
    with trainer.running():
        for _ in range(8):
            trainer._train_step()
            weights.append(trainer.objective.losses.weights["triplet"])
    assert weights == [0.5, 0.5, 0.5, 1.0, 1.5, 2.0, 0.5, 0.5]
    never, without = moved(folder, "never"), moved(folder, "without")
    ends = [
        run(config_of(never, stages=[{"from_step": 0, "losses.triplet.weight": 0}], **losses_of)),
        run(small_config(without, losses=[{"name": "triplet", "weight": 0.0}])),
    ]
    assert_same_end(ends[:1], ends[1:])


def test_epochs_are_counted_in_steps_as_the_schedule_does(folder):
    """5 steps an epoch: 1.3 epochs end in the middle of step 6."""
    stages = [
        {"until_epoch": 1.3, "head.sample_rate": 0.25},
        {"from_epoch": 1.3, "until_epoch": 2, "head.sample_rate": 1.0},
    ]
    found = [rate for _, rate, _ in steps_of(config_of(folder, stages=stages))]
    assert found == [0.25] * 7 + [1.0] * 3 + [0.5] * 2


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("lowered", [0, 1], ids=["at a border", "in a line"])
def test_a_resume_lands_in_the_right_stage_bit_for_bit(run_ranks, folder, world_size, lowered):
    """Stopped after 7 steps: where one stage begins and another is in the middle of its line."""
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    stages = [LINE, BORDER | {"from_step": 7 + lowered}]
    expected = run_ranks(run, world_size, config_of(whole, stages=stages))
    run_ranks(stop_after_seven, world_size, config_of(parts, stages=stages))
    resumed = run_ranks(run, world_size, config_of(parts, stages=stages))
    assert losses(parts) == losses(whole)
    assert_same_end(expected, resumed)
    assert told(parts) == told(whole)


def test_another_number_of_ranks_resumes_in_the_same_stage(run_ranks, folder):
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    sections = EXACT | {"head": EXACT["head"] | {"sample_rate": 0.5}}
    run_ranks(run, 1, config_of(whole, stages=[LINE, BORDER], **sections))
    run_ranks(stop_after_seven, 3, config_of(parts, stages=[LINE, BORDER], **sections))
    run_ranks(run, 2, config_of(parts, stages=[LINE, BORDER], **sections))
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-9)


def test_stages_of_the_usual_values_change_no_bit(folder):
    """Nor does a resume, at which the margin is made anew: its average goes on."""
    plain, staged = moved(folder, "plain"), moved(folder, "staged")
    head = {"margin": {"name": "curricularface", "scale": 16, "margin": 0.2, "momentum": 0.3}}
    same = [{"from_step": 3, "until_step": 9, "head.margin.margin": 0.2, "head.sample_rate": 0.5}]
    expected = run(small_config(plain, head=head))
    config = config_of(staged, stages=same, head=head)
    stop_after_seven(config)
    assert_same_end([expected], [run(config)])
    assert losses(plain) == losses(staged)


def test_a_margin_keeps_its_average_where_a_stage_changes_it(folder):
    head = {"margin": {"name": "curricularface", "scale": 16, "margin": 0.2}}
    stages = [{"from_step": 3, "until_step": 9, "head.margin.momentum": {"from": 1e-9, "to": 2e-9}}]
    trainer = Trainer(config_of(folder, stages=stages, head=head), torch.device("cpu"))
    averages = []
    with trainer.running():
        for _ in range(9):
            trainer._train_step()
            averages.append(trainer.objective.head.margin.t.item())
    assert len({round(average, 6) for average in averages[:3]}) == 3
    assert averages[3:] == pytest.approx([averages[2]] * 6, abs=1e-6)


def test_a_skipped_step_counts_for_the_stages(folder):
    backbone = {"name": "tests.train_cases:Poisoned", "options": {"steps": [5]}}
    found = steps_of(config_of(folder, stages=[LINE, BORDER], backbone=backbone))
    assert [margin for margin, _, _ in found] == [0.2] * 4 + [0.0, 0.1, 0.2, 0.3, 0.4, 0.5] + [0.2] * 2


def told(folder: Path) -> list[dict[str, Any]]:
    records = [record for record in read_metrics(folder / "run") if record["event"] == "stage"]
    return [{key: value for key, value in record.items() if key != "time"} for record in records]


def test_the_log_says_when_a_stage_begins_and_ends(folder, capsys):
    run(config_of(folder, stages=[LINE, BORDER]))
    out = capsys.readouterr().out
    assert "stages.0 began with step 5, after 4 steps: head.margin.margin from 0 to 0.6" in out
    assert (
        "stages.1 began with step 8, after 7 steps: head.sample_rate 1, head.margin.scale 24, "
        "head.interclass_filter 0.6" in out
    )
    assert "stages.0 was over after step 10: head.margin.margin from 0 to 0.6" in out
    assert [(record["step"], record["stage"], record["begins"]) for record in told(folder)] == [
        (5, 0, True),
        (8, 1, True),
        (11, 0, False),
    ]
    assert told(folder)[1]["settings"] == {
        "head.margin.margin": pytest.approx(0.3),
        "head.sample_rate": 1.0,
        "head.margin.scale": 24.0,
        "head.interclass_filter": 0.6,
    }
    lines = [record for record in read_metrics(folder / "run") if record["event"] == "train"]
    assert [line["head.sample_rate"] for line in lines] == [0.5] * 7 + [1.0] * 5
    assert [line["head.interclass_filter"] for line in lines] == [None] * 7 + [0.6] * 5


def test_the_metrics_have_the_stage_and_its_settings(folder):
    trainer = Trainer(config_of(folder, stages=[LINE, BORDER]), torch.device("cpu"))

    def now(name: str, label: str) -> float:
        return samples(text_of(trainer.metrics.registry))[name, *sorted((label, "rank=0", "run=run"))]

    with trainer.running():
        for _ in range(5):
            trainer._train_step()
        assert now("partialfc_stage", "stage=0") == 1
        assert now("partialfc_stage", "stage=1") == 0
        assert now("partialfc_setting", "key=head.margin.margin") == 0.0
        assert math.isnan(now("partialfc_setting", "key=head.interclass_filter"))
        for _ in range(6):
            trainer._train_step()
        assert now("partialfc_stage", "stage=0") == 0
        assert now("partialfc_stage", "stage=1") == 1
        assert now("partialfc_setting", "key=head.margin.margin") == pytest.approx(0.2)
        assert now("partialfc_setting", "key=head.sample_rate") == 1.0


def test_what_the_head_refuses_is_refused_before_the_first_step(folder):
    """The config knows no bound of a scale, the type of the products does."""
    with pytest.raises(ConfigError, match=r"stages, in step 9: head\.margin: .* up to 300, .*lower"):
        run(config_of(folder, stages=[{"from_step": 9, "head.margin.scale": 300}]))
    assert not (folder / "run" / "metrics.jsonl").exists()


@pytest.mark.slow
def test_a_line_of_a_margin_is_not_compiled_step_by_step(folder):
    """Each number would need code of its own. Before and after the line there is one margin."""
    head = {"margin": {"name": "mv_softmax", "base": {"scale": 16, "margin": 0.2}}, "compile": True}
    line = {"from_step": 3, "until_step": 10, "head.margin.t": {"from": 0.3, "to": 0.2}}
    held = {"from_step": 3, "until_step": 10, "head.margin.t": 0.3}
    counts = []
    for name, stage in (("plain", None), ("line", line), ("held", held)):
        config = config_of(moved(folder, name), stages=[] if stage is None else [stage], head=head)
        counts.append(run_and_count_compilations(config)[1])
    plain, with_line, with_held = counts
    assert plain == with_line
    assert plain < with_held


def test_a_stage_beyond_the_run_is_told(folder, caplog):
    config = config_of(
        folder,
        stages=[
            {"from_step": 12, "head.sample_rate": 1.0},
            {"until_step": 20, "head.margin.margin": {"from": 0, "to": 0.2}},
        ],
    )
    run(config)
    assert "stages.0 changes nothing: it begins after the run's 12 steps" in caplog.text
    assert "stages.1" not in caplog.text
    lines = [record for record in read_metrics(folder / "run") if record["event"] == "train"]
    assert lines[-1]["head.margin.margin"] == pytest.approx(0.2 * 11 / 20)
