"""The program that measures checking and packing runs, on a few images."""

from pathlib import Path

from tests.benchmarks.measured import measured
from tests.paths import MXNET


def test_a_row_for_each_work(tmp_path: Path) -> None:
    glyphs = str(MXNET / "train.rec")
    few = ("--count", "70", "--rounds", "1", "--processes", "1")
    rows, printed = measured("check.py", "--glyphs", glyphs, *few, folder=tmp_path)
    cases = [("decode", "1"), ("check", "1"), ("pack", "1")]
    assert [(row["work"], row["processes"]) for row in rows] == cases * 2
    assert all(int(row["images_per_s"]) > 0 for row in rows)
    assert len(printed.splitlines()) == len(rows)
