"""benchmarks/distillation.py, distillation_table.py: rows of distillation.csv, made once, and compared."""

import pytest

from tests.benchmarks.measured import measured
from tests.glyph_run import write_glyphs

STUDENTS = ("alone", "angular beside the head", "angular, second generation", "l2, no head")


@pytest.mark.slow
def test_every_student_has_a_row_and_learns_again_only_where_it_has_none(tmp_path):
    budget = ("--data", str(write_glyphs(tmp_path)), "--classes", "16", "--unseen", "8", "--steps", "2")
    rows, _ = measured("distillation.py", *budget, "--seeds", "0", "--students", *STUDENTS, folder=tmp_path)
    assert [row["loss"] for row in rows] == ["the teacher", *STUDENTS]
    assert [row["steps"] for row in rows] == ["4", "2", "2", "2", "2"]
    assert int(rows[0]["parameters"]) > int(rows[1]["parameters"])
    assert "begun with angular beside the head" in rows[3]["settings"]
    more, printed = measured(
        "distillation.py", *budget, "--seeds", "0", "1", "--students", *STUDENTS[:2], folder=tmp_path
    )
    assert [row for row in more if row["seed"] == "0"] == rows
    assert len(more) == len(rows) + 2
    assert "points to alone" in printed
