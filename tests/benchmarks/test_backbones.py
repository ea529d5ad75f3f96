"""benchmarks/backbones.py: a row for each backbone and precision, measured where it has none, or --again.

Its rows, benchmarks/backbones.csv, are what backbone_tables.py writes into the page.
"""

import pytest

from tests.benchmarks.measured import measured


@pytest.mark.slow
def test_a_backbone_has_a_row_for_each_precision_and_is_measured_once(tmp_path):
    quick = ("convnet", "--rounds", "1", "--batch", "2")
    rows, printed = measured("backbones.py", *quick, "--precisions", "float32", folder=tmp_path)
    assert [(row["backbone"], row["precision"]) for row in rows] == [("convnet", "float32")]
    assert "images/s trained" in printed
    assert (rows[0]["flops"], rows[0]["batch"]) == ("1157259264", "2")
    both = ("--precisions", "float32", "bfloat16")
    more, printed = measured("backbones.py", *quick, *both, folder=tmp_path)
    assert more[0] == rows[0]
    assert [row["precision"] for row in more] == ["float32", "bfloat16"]
    assert printed.count("images/s trained") == 1
    assert all(float(row[f"{what}_images_per_s"]) > 0 for row in more for what in ("train", "infer"))
    anew, printed = measured("backbones.py", *quick, *both, "--again", folder=tmp_path)
    assert printed.count("images/s trained") == len(anew) == 2
