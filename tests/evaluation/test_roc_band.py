"""ROC curves with bands: the curve is what `verify` says, the band what its intervals say."""

import numpy as np
import pytest

from partialfc.evaluation.intervals import resampled
from partialfc.evaluation.roc_band import roc_band
from partialfc.evaluation.verification import tar_key, verify


def scored(seed: int = 0, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, flags and identities of pairs among 40 people."""
    rng = np.random.default_rng(seed)
    own = rng.integers(40, size=500)
    other = (own + rng.integers(1, 40, size=500)) % 40
    same = np.arange(500) % 2 == 0
    scores = rng.normal(np.where(same, 0.7, 0.2), 0.2) + rng.normal(0, 0.1, 40)[own]
    return (scores.round(1) if ties else scores), same, np.stack([own, np.where(same, own, other)], 1)


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_the_curve_is_what_verify_says(ties):
    scores, same, _ = scored(ties=ties)
    found = roc_band(scores, same)
    assert found.low is None
    assert found.far[0] == 1 / 250
    assert found.far[-1] == 1
    assert (np.diff(found.far) > 0).all()
    fars = found.far[:-1].tolist()
    tars = verify(scores, same, fars=fars).tar
    assert [tars[far] for far in fars] == found.tar[:-1].tolist()


def test_the_band_is_that_of_the_intervals():
    scores, same, identities = scored()
    done = []
    found = roc_band(scores, same, identities, replicates=60, seed=3, progress=done.append)
    assert done[-1] == 60
    fars = found.far[[0, 20, 60]].tolist()
    drawn = resampled(scores, same, identities, folds=5, fars=fars, replicates=60, seed=3)
    for far in fars:
        low, high = np.nanquantile(drawn[tar_key(far)], [0.025, 0.975])
        at = np.flatnonzero(found.far == far)[0]
        assert found.low[at] == pytest.approx(min(low, found.tar[at]))
        assert found.high[at] == pytest.approx(max(high, found.tar[at]))
    assert (found.low <= found.tar).all()
    assert (found.tar <= found.high).all()


def test_too_few_identities_have_no_band():
    scores = np.array([0.9, 0.8, 0.1, 0.2])
    same = np.array([True, True, False, False])
    found = roc_band(scores, same, np.array([[0, 0], [0, 0], [1, 2], [3, 4]]), replicates=200)
    assert np.isnan(found.low).all()
    assert np.isfinite(found.tar).all()
