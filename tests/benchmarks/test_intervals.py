"""benchmarks/intervals.py, which wrote benchmarks/intervals.csv: rows for each design, unit and figure."""

from tests.benchmarks.measured import measured


def test_the_coverage_of_intervals_is_printed_and_written(tmp_path):
    small = ("--sets", "12", "--replicates", "60", "--large-sets", "2")
    rows, printed = measured("intervals.py", *small, folder=tmp_path)
    shares = {(row["design"], row["unit"], row["figure"]): float(row["coverage"]) for row in rows}
    assert len(shares) == len(rows) == 12
    assert shares["dense", "identity", "auc"] > shares["dense", "pair", "auc"]
    assert "1000 draws on 12,000 pairs: " in printed
