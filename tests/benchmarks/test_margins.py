"""benchmarks/margins.py: a row for each loss and seed, resumed, and what is said of their differences."""

import csv

import pytest

from tests.benchmarks.measured import measured, run
from tests.glyph_run import write_glyphs

BUDGET = ("--parallel", "1", "--classes", "16", "--unseen", "8", "--steps", "2")
LOSSES = ("NormalizedSoftmax", "CosFace")
ACCURACY = {("NormalizedSoftmax", 0): 90, ("NormalizedSoftmax", 1): 91, ("NormalizedSoftmax", 2): 92}
ACCURACY |= {("CosFace", 0): 91, ("CosFace", 1): 93, ("CosFace", 2): 93}  # 1, 2 and 1 better


@pytest.mark.slow
def test_every_loss_has_a_row_for_each_seed_and_runs_again_only_where_it_has_none(tmp_path):
    data = ("--data", str(write_glyphs(tmp_path)))
    rows, printed = measured("margins.py", *data, *BUDGET, "--seeds", "0", folder=tmp_path)
    assert len({row["loss"] for row in rows}) == len(rows) > 20
    assert f"0 of {len(rows)} runs are there" in printed
    assert {int(row["genuine_pairs"]) + int(row["impostor_pairs"]) for row in rows} == {32 * 31 // 2}
    assert all(0 <= float(row[score]) <= 100 for row in rows for score in ("accuracy", "tar_at_far_1e-3"))
    again = ("--losses", *LOSSES, "--seeds", "0", "1", "2", "--parallel", "2")
    more, printed = measured("margins.py", *data, *BUDGET, *again, folder=tmp_path)
    assert "2 of 6 runs are there" in printed
    assert [row for row in more if row["seed"] == "0"] == rows
    assert len(more) == len(rows) + 4

    for row in more:
        row["accuracy"] = ACCURACY.get((row["loss"], int(row["seed"])), 50)
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, more[0])
        writer.writeheader()
        writer.writerows(more)
    _, printed = measured("margins.py", *BUDGET, *again, folder=tmp_path)
    assert "92.33 % ± 1.15 %" in printed
    # 4/3 with a standard error of 1/3: t = 4.0, of 4.30 that it takes with two degrees of freedom
    assert "pair accuracy: +1.33 ± 0.33 points to NormalizedSoftmax, not significant" in printed

    refused = run("margins.py", *BUDGET[:-1], "3", "--output", tmp_path / "rows.csv")
    assert "rows.csv has a row of Softmax, seed 0, with other settings or another budget" in refused.stderr
