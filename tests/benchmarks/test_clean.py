"""benchmarks/clean.py, which wrote clean_estimates.csv, clean_retraining.csv and clean_classes.csv."""

import pytest

from tests.benchmarks.measured import measured
from tests.glyph_run import write_glyphs


@pytest.mark.slow
def test_every_training_and_every_share_has_a_row_and_trainings_stay(tmp_path):
    budget = ("--data", str(write_glyphs(tmp_path)), "--folder", str(tmp_path / "runs"))
    budget += ("--steps", "2", "--batch", "16")
    rows, printed = measured("clean.py", "retraining", *budget, "--seeds", "0", folder=tmp_path)
    assert [row["training"] for row in rows] == ["noisy", "cleaned", "clean"]
    assert [float(row["noise"]) for row in rows] == [0.2, 0.2, 0.0]
    assert all(0 <= float(row["accuracy"]) <= 100 for row in rows)
    assert "20% flipped" in printed
    runs = sorted((tmp_path / "runs").rglob("metrics.jsonl"))
    estimates, _ = measured("clean.py", "estimates", *budget, "--shares", "0", "0.2", folder=tmp_path)
    assert [(row["noise"], row["accuracy"]) for row in estimates] == [
        (row["noise"], row["accuracy"]) for row in (rows[2], rows[0])
    ]
    assert sorted((tmp_path / "runs").rglob("metrics.jsonl")) == runs
    more = ("--shares", "0.2", "--by", "centres")
    (centres,), _ = measured("clean.py", "estimates", *budget, *more, folder=tmp_path)
    assert (centres["by"], centres["accuracy"]) == ("centres", rows[0]["accuracy"])
    assert 0 <= float(centres["learned_by_heart"]) == float(estimates[1]["learned_by_heart"]) <= 1
    assert estimates[0]["learned_by_heart"] == "", "no label is wrong"


@pytest.mark.slow
def test_cut_and_joined_classes_are_counted(tmp_path):
    budget = ("--data", str(write_glyphs(tmp_path)), "--folder", str(tmp_path / "runs"))
    budget += ("--steps", "2", "--batch", "16", "--count", "2", "--shares", "0")
    (row,), _ = measured("clean.py", "classes", *budget, folder=tmp_path)
    assert (row["classes_cut"], row["classes_joined"]) == ("2", "2")
    assert 0 <= int(row["cut_found"]) <= 2
    assert int(row["other_pairs_alike_in_pixels"]) <= int(row["other_pairs_found"])
