"""benchmarks/occlusion.py: a row of occlusion.csv for each way and seed, made once, and their comparison."""

import pytest

from tests.benchmarks.measured import measured, run
from tests.glyph_run import write_glyphs

WAYS = ("plain", "three ways", "regions of the map")


@pytest.mark.slow
def test_every_way_has_a_row_and_learns_again_only_where_it_has_none(tmp_path):
    budget = ("--data", str(write_glyphs(tmp_path)), "--classes", "16", "--unseen", "8", "--steps", "2")
    rows, _ = measured("occlusion.py", *budget, "--seeds", "0", "--ways", *WAYS, folder=tmp_path)
    assert [row["way"] for row in rows] == [*WAYS]
    assert all(0 <= float(row[score]) <= 100 for row in rows for score in ("clean", "covered", "noise"))
    assert rows[0]["iou"] == ""
    assert all(0 <= float(row[iou]) <= 1 for row in rows[1:] for iou in ("iou", "iou_masks"))
    more, printed = measured(
        "occlusion.py", *budget, "--seeds", "0", "1", "--ways", *WAYS[:2], folder=tmp_path
    )
    assert [row for row in more if row["seed"] == "0"] == rows
    assert len(more) == len(rows) + 2
    assert "points to plain" in printed

    refused = run("occlusion.py", *budget[:-1], "3", "--output", tmp_path / "rows.csv")
    assert "rows.csv has rows of another budget" in refused.stderr
