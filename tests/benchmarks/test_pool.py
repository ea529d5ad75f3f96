"""benchmarks/pool.py and pool_cost.py: a row for each variant, made once, and what does not fit.

As in benchmarks/pool.csv and pool_cost.csv.
"""

import pytest

from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from tests.benchmarks.measured import measured
from tests.train_cases import write_data


@pytest.mark.slow
def test_every_variant_has_a_row_and_runs_again_only_where_it_has_none(tmp_path):
    path = write_data(tmp_path / "data", classes=400)
    write_pairs(tmp_path / "data" / "pairs.bin", make_pairs(open_source(path), pairs=40, seed=0))
    options = ("--data", str(tmp_path / "data"), "--cache", str(tmp_path), "--steps", "2")
    chosen = ("--variants", "full head", "pool 10 %")
    rows, _ = measured("pool.py", *options, *chosen, "--seeds", "0", folder=tmp_path)
    assert [(row["variant"], row["rows"]) for row in rows] == [("full head", "400"), ("pool 10 %", "40")]
    assert all(0 <= float(row["accuracy"]) <= 100 and float(row["loss"]) > 0 for row in rows)
    more, printed = measured("pool.py", *options, *chosen, "--seeds", "0", "1", folder=tmp_path)
    assert [row for row in more if row["seed"] == "0"] == rows
    assert len(more) == 4
    assert "| 2 | pool 10 % | 40 | 2 |" in printed


@pytest.mark.slow
def test_the_cost_of_each_has_a_row_and_centres_that_do_not_fit_are_named(tmp_path):
    sizes = ("--classes", "20000", "--embedding", "64", "--most-gb", "0.003", "--steps", "1")
    rows, printed = measured("pool_cost.py", *sizes, folder=tmp_path)
    assert [row["system"] for row in rows] == ["pool", "Partial FC", "full head"]
    assert float(rows[0]["cpu_s"]) > 0
    assert all(row["left_out"] and not row["cpu_s"] for row in rows[1:])
    assert "| 64 | full head | 20,000 | its centres alone are 0.0 GB |" in printed
