"""benchmarks/uncertainty.py: its rows, and that what is committed says what the documents claim."""

import csv

import pytest

from partialfc.data.images.degradations import DEGRADATIONS
from tests.benchmarks.measured import measured
from tests.glyph_run import write_glyphs
from tests.paths import ROOT

NORM, SIGMA, RANDOM = "MagFace's norm", "PFE's sigma", "random"
SCORES = ("cosine", "mls")


def values(rows, quality: str, measure: str) -> list[float]:
    return [float(row["value"]) for row in rows if (row["quality"], row["measure"]) == (quality, measure)]


@pytest.mark.slow
def test_every_quality_has_its_rows(tmp_path):
    data = ("--data", str(write_glyphs(tmp_path)), "--picture", str(tmp_path / "a.png"))
    budget = (
        "--seeds",
        "0",
        "--steps",
        "4",
        "--pfe-steps",
        "4",
        "--batch",
        "16",
        "--fmr",
        "0.1",
        "--images",
        "40",
    )
    rows, printed = measured("uncertainty.py", *data, *budget, folder=tmp_path)
    for quality in (NORM, SIGMA, RANDOM):
        for kind in DEGRADATIONS:
            (found,) = values(rows, quality, f"spearman: {kind}")
            assert -1 <= found <= 1
        for score in SCORES:
            (area,) = values(rows, quality, f"{score}: area")
            assert 0 <= area <= 1
    assert "spearman: occlusion" in printed
    assert (tmp_path / "a.png").exists()


def test_the_committed_figures_rank_worse_images_lower_and_beat_random():
    with (ROOT / "benchmarks" / "uncertainty.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    page = (ROOT / "docs" / "how-to" / "quality.md").read_text()
    for quality in (NORM, SIGMA):
        for kind in DEGRADATIONS:
            found = values(rows, quality, f"spearman: {kind}")
            assert len(found) >= 2
            assert min(found) >= 0.5
            assert f"{sum(found) / len(found):.2f}" in page
        for score in SCORES:
            areas, useless = (values(rows, each, f"{score}: area") for each in (quality, RANDOM))
            assert all(area < other for area, other in zip(areas, useless, strict=True))
            assert f"{sum(areas) / len(areas):.3f}" in page
