"""benchmarks/finetune.py, which wrote finetune.csv: a row for each way and seed, made once."""

import pytest

from tests.benchmarks.measured import measured
from tests.glyph_run import write_glyphs


@pytest.mark.slow
def test_every_way_has_a_row_and_is_not_gone_twice(tmp_path):
    glyphs = str(write_glyphs(tmp_path))
    budget = ("--data", glyphs, "--jittered", glyphs, "--new", "8", "--shots", "2", "--pairs", "12")
    budget += ("--base-steps", "2", "--steps", "2", "--base", str(tmp_path / "base"))
    rows, _ = measured("finetune.py", *budget, "--seeds", "0", folder=tmp_path)
    assert [row["way"] for row in rows[:2]] == ["not fine-tuned", "from scratch"]
    assert len({row["way"] for row in rows}) == len(rows) == 8
    assert {(row["base_images"], row["new_images"]) for row in rows} == {("64", "16")}
    assert all(0 <= float(row["accuracy"]) <= 100 for row in rows)
    again, printed = measured("finetune.py", *budget, "--seeds", "0", folder=tmp_path)
    assert again == rows
    assert "not fine-tuned      1" in printed
