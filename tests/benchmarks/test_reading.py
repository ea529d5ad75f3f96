"""benchmarks/loader.py and index.py run, and say what they measured; their figures are in their CSV files."""

import pytest

from tests.benchmarks.measured import measured


@pytest.mark.slow
def test_the_loaders_speed_is_measured_without_the_peer_too(tmp_path):
    rows, printed = measured("loader.py", "--rounds", "1", folder=tmp_path)
    assert [(row["case"], row["loader"]) for row in rows] == [("glyphs", "partialfc")]
    assert int(rows[0]["p50_images_per_cpu_s"]) > 0
    assert "images per CPU second" in printed


@pytest.mark.slow
def test_the_index_is_measured(tmp_path):
    options = ("--records", "20000", "--keys", "last", "--rounds", "1")
    rows, _ = measured("index.py", *options, folder=tmp_path)
    assert [(row["records"], row["keys"]) for row in rows] == [("20000", "last")]
