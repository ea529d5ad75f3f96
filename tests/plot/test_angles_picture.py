"""The picture of runs' angles: which records it shows, what it says of them, and logs of strangers."""

import json
from pathlib import Path
from typing import Any

import pytest

from partialfc.errors import DataError
from partialfc.metrics.run_log import METRICS
from partialfc.plot.angles_picture import draw_angles, moments, shares
from tests.train_cases import small_config, write_data
from tests.training.cases import run

KINDS = ("target", "nearest_negative", "nearest_centre")


def record(step: int, **changes: Any) -> dict[str, Any]:
    values = {
        f"{kind}_{key}": value for kind in KINDS for key, value in (("degrees", 40.0), ("smallest", 1.5))
    }
    histograms = {f"{kind}_histogram": [0, 3, 1] for kind in KINDS}
    return {"event": "angles", "step": step, **values, **histograms, **changes}


def write_run(folder: Path, *records: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / METRICS).write_text("".join(json.dumps(each) + "\n" for each in records))
    return folder


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        ([1, 4, 5, 8, 10], {"start": 1, "middle": 5, "end": 10}),
        ([1, 40, 50, 90], {"start": 1, "middle": 50, "end": 90}),
        ([1, 10], {"start": 1, "end": 10}),
        ([1], {"start": 1}),
    ],
    ids=["five", "nearest", "two", "one"],
)
def test_the_start_the_middle_and_the_end_are_shown(steps, shown):
    found = moments([record(step) for step in steps])
    assert {moment: each["step"] for moment, each in found.items()} == shown


def test_a_histogram_becomes_shares_of_equal_parts():
    heights, edges = shares([0, 3, 1])
    assert heights.tolist() == [0, 0.75, 0.25]
    assert edges.tolist() == [0, 60, 120, 180]
    assert shares([0, 0])[0].tolist() == [0, 0]


def test_several_finished_runs_are_drawn_side_by_side(tmp_path):
    write_data(tmp_path)
    run(small_config(tmp_path, train={"steps": 4}))
    other = write_run(tmp_path / "a $strange$ name", record(1))
    output = draw_angles([tmp_path / "run", other], tmp_path / "a.png")
    assert output.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target_histogram": "x"}, "target_histogram='x', which is not what a run"),
        ({"nearest_centre_degrees": [1]}, "nearest_centre_degrees=[1], which is not what a run"),
    ],
    ids=["histogram", "mean"],
)
def test_a_record_that_no_run_writes_is_named(tmp_path, changes, says):
    with pytest.raises(DataError) as raised:
        draw_angles([write_run(tmp_path / "run", record(1), record(2, **changes))], tmp_path / "a.png")
    assert says in str(raised.value)
    assert "step 2" in str(raised.value)


@pytest.mark.parametrize(
    "changes",
    [{"target_degrees": None, "target_histogram": [0, 0]}, {"target_histogram": []}],
    ids=["nothing finite", "no parts"],
)
def test_a_record_without_an_angle_is_drawn(tmp_path, changes):
    run_dir = write_run(tmp_path / "run", record(1, **changes), record(2))
    assert draw_angles([run_dir], tmp_path / "a.png").exists()
