"""A run's log as columns: what other readers read, of a log of any length."""

import json

import numpy as np
import pytest

from partialfc.errors import DataError
from partialfc.metrics.run_log import read_metrics
from partialfc.report.run_page.chart import Axis, Chart, Series, chart
from partialfc.report.run_page.log import read_log
from partialfc.report.run_page.page import write_run_page
from partialfc.report.run_page.runs import Run
from partialfc.report.run_page.step_time import mean_times
from tests.report.run_page.cases import train_record, write_log, write_run


def test_columns_are_those_of_the_records(tmp_path):
    write_run(tmp_path / "run")
    log = read_log(tmp_path / "run")
    train = [each for each in read_metrics(tmp_path / "run") if each["event"] == "train"]
    for name in ("step", "loss", "lr", "seconds", "head.margin.margin"):
        assert log.column(name).tolist() == [each[name] for each in train]
    assert log.column("phase.backward").tolist() == [each["phase_seconds"]["backward"] for each in train]
    assert np.isnan(log.column("nothing")).all()
    assert [len(log.events[name]) for name in ("verification", "angles", "stage", "checkpoint")] == [
        3,
        3,
        1,
        2,
    ]
    middle = [np.searchsorted(np.cumsum(each["target_angle_histogram"]), 32) * 5 for each in train]
    assert np.abs(log.angles[:, 1] - middle).max() <= 5


def test_what_begins_late_or_is_null_is_a_gap(tmp_path):
    rng = np.random.default_rng(0)
    records = [train_record(step, rng) for step in (1, 2, 3)]
    records[1] |= {"loss": None, "late": 5}
    records[2] |= {"images_per_second": "x", "late": True, "step_seconds": 10**400}
    write_log(tmp_path, records)
    log = read_log(tmp_path)
    assert np.isnan(log.column("loss")).tolist() == [False, True, False]
    assert log.column("late")[1] == 5
    assert np.isnan(log.column("late")).tolist() == [True, False, True]
    assert np.isnan(log.column("images_per_second")).tolist() == [False, False, True]
    assert np.isnan(log.column("step_seconds")).tolist() == [False, False, True]


def test_the_mean_time_of_a_step_counts_each_step_once(tmp_path):
    rng = np.random.default_rng(0)
    first, second = train_record(1, rng, step_seconds=1.0), train_record(11, rng, step_seconds=2.1)
    first["phase_seconds"] = {"backward": 0.5}
    second["phase_seconds"] = {"backward": 1.6}
    write_log(tmp_path, [first, second])
    found = mean_times(Run("mine", tmp_path, read_log(tmp_path)))
    assert found == pytest.approx({"backward": 1.5, "the rest": 0.5})


def test_a_folder_without_a_log_and_a_log_without_training_are_said(tmp_path):
    with pytest.raises(DataError, match=r"is not a run: it has no metrics\.jsonl"):
        read_log(tmp_path)
    write_log(tmp_path, [{"event": "checkpoint", "step": 1}])
    with pytest.raises(DataError, match="has no train record yet"):
        read_log(tmp_path)


def test_a_page_does_not_grow_with_the_log(tmp_path):
    sizes = []
    for count in (4_000, 30_000):
        folder = tmp_path / str(count)
        rng = np.random.default_rng(0)
        line = train_record(0, rng)
        losses = rng.normal(5, 1, count)
        losses[count // 3] = 99.5
        folder.mkdir()
        with (folder / "metrics.jsonl").open("w") as file:
            for step, loss in enumerate(losses, 1):
                file.write(json.dumps(line | {"step": step, "loss": loss}) + "\n")
        page = write_run_page([Run("mine", folder, read_log(folder))], folder / "a.html")
        text = page.read_text()
        assert "99.5" in text
        sizes.append(len(text))
    assert sizes[1] < 1.1 * sizes[0]


def test_a_chart_says_in_words_and_in_a_table_what_it_draws():
    x, y = np.array([1.0, 2, 3]), np.array([0.5, np.nan, 0.25])
    text = chart(
        Chart("a", "A <title>", Axis("step"), Axis("rate", percent=True), [Series("</script>", x, y, y, y)])
    )
    assert "goes from 50.00% at 1 to 25.00% at 3, least 25.00% at 3, greatest 50.00% at 1" in text
    assert "<td>50.00% [50.00%, 50.00%]</td>" in text
    assert "A &lt;title&gt;" in text
    assert text.count("</script>") == 1
    values = json.loads(text.partition('<script type="application/json">')[2].partition("</script>")[0])
    assert values["series"][0]["y"] == [0.5, None, 0.25]
    assert values["series"][0]["name"] == "</script>"
