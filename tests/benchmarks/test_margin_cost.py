"""benchmarks/margin_cost.py measures a margin beside ArcFace."""

import pytest

from tests.benchmarks.measured import measured


@pytest.mark.slow
def test_a_margin_takes_turns_with_arcface(tmp_path):
    size = [
        "--cases",
        "SubCenter of 3",
        "--shrink",
        "1000",
        "--threads",
        "1",
        "--warmup",
        "1",
        "--steps",
        "1",
    ]
    rows, printed = measured("margin_cost.py", *size, folder=tmp_path)
    assert [row["margin"] for row in rows] == ["ArcFace", "SubCenter of 3"]
    assert float(rows[0]["over_arcface"]) == 1.0
    ratio = float(rows[1]["median_s"]) / float(rows[0]["median_s"])
    assert float(rows[1]["over_arcface"]) == pytest.approx(ratio, rel=1e-2)
    assert "times ArcFace's" in printed
