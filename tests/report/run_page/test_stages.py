"""The stages on a run's page: each time that one lasted, also where the run was resumed; and its settings."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partialfc.config import Config
from partialfc.report.run_page.log import read_log
from partialfc.report.run_page.runs import Run
from partialfc.report.run_page.stage_table import setting_charts, stage_blocks
from partialfc.training.loop import Trainer
from tests.report.run_page.cases import train_record, write_log
from tests.train_cases import small_config, write_data
from tests.training.cases import moved, run

LINE = {"from_step": 2, "until_step": 10, "head.margin.margin": {"from": 0.0, "to": 0.4}}
HELD = {"from_step": 8, "head.sample_rate": 0.5}


def rows_of(folder: Path) -> list[list[str]]:
    """The stages of a run, each cell of their table as text."""
    blocks = stage_blocks(Run("run", folder, read_log(folder)))
    return [
        [unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall("<td.*?</td>", row, flags=re.S)]
        for block in blocks
        for row in re.findall("<tr>.*?</tr>", block, flags=re.S)[1:]
    ]


def points_of(folder: Path, key: str) -> list[tuple[float, float]]:
    (chart,) = (each for each in setting_charts([Run("run", folder, read_log(folder))]) if each.title == key)
    return list(zip(chart.series[0].x.tolist(), chart.series[0].y.tolist(), strict=True))


def staged(folder: Path, *steps: int, **records: Any) -> Path:
    """A run that logs `steps`, with the `values` of some of them; and the records of its `stages`."""
    rng = np.random.default_rng(0)
    events = [{"event": "stage", **each} for each in records["stages"]]
    lines = [train_record(step, rng, **records.get("values", {}).get(step, {})) for step in steps]
    write_log(folder, sorted([*events, *lines], key=lambda record: record["step"]))
    return folder


def killed(config: Config) -> None:
    """After nine steps, two of which no checkpoint has."""
    trainer = Trainer(config, torch.device("cpu"))
    with trainer.running():
        while trainer.state.step < 9:
            trainer._train_step()
            trainer._log()
            if trainer.state.step == 7:
                trainer._save()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`whole` was killed and resumed, `other` with other stages; `on` goes on from one of `first`."""
    folder = tmp_path_factory.mktemp("runs")
    write_data(folder)
    for name, stages in (("first", None), ("whole", [LINE, HELD]), ("other", [LINE | {"until_step": 11}])):
        parts = moved(folder, name)
        killed(small_config(parts, stages=[LINE, HELD]))
        if stages:
            run(small_config(parts, stages=stages))
    (checkpoint,) = (folder / "first" / "run" / "checkpoints").glob("step-*")
    run(small_config(moved(folder, "on"), f"checkpoint.resume={checkpoint}", stages=[LINE, HELD]))
    return folder


def test_a_resumed_run_has_each_stage_once(runs):
    assert [row[:3] for row in rows_of(runs / "whole" / "run")] == [
        ["stage 0", "3", "10"],
        ["stage 1", "9", "not over at 12"],
    ]


def test_what_a_resume_changed_is_told(runs):
    """A log has no record of a stage that a changed config makes last."""
    assert [row[:3] for row in rows_of(runs / "other" / "run")] == [["stage 0", "3", "11"]]
    staged(
        runs / "changed",
        *range(1, 30),
        stages=[
            {"step": 3, "stage": 0, "begins": True, "settings": {}},
            {"step": 5, "stage": 1, "begins": True, "settings": {}},
            {"step": 11, "stage": 1, "begins": False, "settings": {}},
            {"step": 15, "stage": 1, "begins": False, "settings": {}},
            {"step": 20, "stage": 0, "begins": True, "settings": {}},
        ],
    )
    assert [row[:3] for row in rows_of(runs / "changed")] == [
        ["stage 0", "3", "changed by a resume"],
        ["stage 1", "5", "10"],
        ["stage 1", "changed by a resume", "14"],
        ["stage 0", "20", "not over at 29"],
    ]


def test_a_run_that_goes_on_from_another_has_the_stages_that_are_over_in_it(runs):
    (begun, ended) = rows_of(runs / "on" / "run")
    assert ended == ["stage 0", "before step 8", "10", ""]
    assert begun[:3] == ["stage 1", "9", "not over at 12"]
    assert points_of(runs / "on" / "run", "head.sample_rate")[0] == (8, 0.5)


def test_settings_are_rounded_and_those_of_the_first_step(tmp_path):
    settings = {"head.margin.margin": 0.19999999999999998, "head.interclass_filter": None, "head.x": 20}
    staged(tmp_path, 1, 50, stages=[{"step": 41, "stage": 2, "begins": True, "settings": settings}])
    ((*_, shown),) = rows_of(tmp_path)
    assert shown == "head.margin.margin 0.2, head.interclass_filter null, head.x 20"


def test_a_setting_jumps_at_the_step_of_its_stage_and_a_line_stays_one(tmp_path):
    key = "head.margin.margin"
    values = {1: 0.0, 10: 0.0, 20: 0.1, 30: 0.2, 40: 0.3, 50: 0.3, 60: 0.5}
    begun = [(13, 0.03, True), (33, 0.3, False), (57, 0.5, True)]
    staged(
        tmp_path,
        *values,
        values={step: {key: value} for step, value in values.items()},
        stages=[
            {"step": step, "stage": step // 50, "begins": begins, "settings": {key: value}}
            for step, value, begins in begun
        ],
    )
    assert points_of(tmp_path, key) == [
        (1, 0.0), (10, 0.0), (12, 0.0), (13, 0.03), (20, 0.1), (30, 0.2), (33, 0.3), (40, 0.3), (50, 0.3),
        (56, 0.3), (57, 0.5), (60, 0.5),
    ]  # fmt: skip
