"""benchmarks/init.py: both configs train for the same processor time, and are verified on the same pairs."""

import pytest

from tests.benchmarks.measured import measured
from tests.glyph_run import write_glyphs


@pytest.mark.slow
def test_a_row_for_each_config_which_is_not_measured_twice(tmp_path):
    quick = ("--data", str(write_glyphs(tmp_path)), "--sets", "few", "--seconds", "0.1", "--seeds", "1")
    rows, printed = measured("init.py", *quick, folder=tmp_path)
    assert [(row["set"], row["config"]) for row in rows] == [("few", "suggested"), ("few", "quickstart")]
    assert {row["classes"] for row in rows} == {"24"}
    assert {row["pairs"] for row in rows} == {"40"}
    assert all(0.5 <= float(row["accuracy"]) <= 1 for row in rows)
    assert printed.count("seed 0") == 2
    again, printed = measured("init.py", *quick, folder=tmp_path)
    assert again == rows
    assert printed.count("seed 0") == 0
