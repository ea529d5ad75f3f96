"""benchmarks/all_pairs.py: small, for its rows; how long the whole takes is for its reader."""

from tests.benchmarks.measured import measured


def test_a_row_with_what_it_costs_and_what_was_found(tmp_path):
    """As the documents have it, which keep benchmarks/all_pairs.csv, but smaller."""
    sizes = ["--embeddings", "3000", "--queries", "1500", "--size", "16"]
    (row,), printed = measured("all_pairs.py", *sizes, folder=tmp_path)
    assert int(row["genuine"]) + int(row["impostors"]) == 1500 * 3000
    assert 0 < float(row["tar@far=2e-06"]) <= float(row["tar@far=2e-04"]) <= 1
    assert float(row["products_s"]) > 0
    assert "memory_beyond_gib" in printed
