"""benchmarks/gallery.py: small, for its rows; how long the whole takes is for its reader."""

from tests.benchmarks.measured import measured


def test_a_row_with_what_it_takes_and_whether_the_answers_are_right(tmp_path):
    """As the documents have it, which keep benchmarks/gallery.csv, but smaller."""
    sizes = ["--rows", "5000", "--width", "32", "--rounds", "2", "--queries", "8"]
    (row,), printed = measured("gallery.py", *sizes, folder=tmp_path)
    assert (row["rows"], row["width"], row["queries"], row["k"]) == ("5000", "32", "8", "5")
    assert row["equal"] == "True"
    assert float(row["ratio"]) > 0
    assert "search_cpu_s" in printed
