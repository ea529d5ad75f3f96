"""The quickstart in small: real glyphs, two gloo processes, sampled centres, characters never seen."""

import pytest

from partialfc.data.glyphs.build import build_glyphs
from partialfc.metrics.run_log import read_metrics
from tests.paths import ROOT
from tests.processes import call


@pytest.mark.slow
def test_the_quickstart_learns_to_tell_unseen_characters_apart(tmp_path):
    build_glyphs(tmp_path / "glyphs", holdout=200, pairs=3000)
    result = call(
        *("train", ROOT / "configs" / "quickstart.yaml"),
        f"run.dir={tmp_path / 'run'}",
        f"data.train={tmp_path / 'glyphs' / 'train.rec'}",
        f"verification.sets={{unseen: {tmp_path / 'glyphs' / 'pairs.bin'}}}",
        *("train.steps=80", "schedule.warmup_steps=10"),
        ranks=2,
    )
    assert result.returncode == 0, result.stderr
    untrained, trained = (r for r in read_metrics(tmp_path / "run") if r["event"] == "verification")
    assert trained["accuracy"] > max(0.95, untrained["accuracy"] + 0.03)
    assert trained["tar@far=1e-3"] > untrained["tar@far=1e-3"] + 0.1
