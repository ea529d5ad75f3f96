"""Thinned curves: bounded, in order, and with all that stands out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partialfc.report.run_page.quantiles import histogram_quantiles
from partialfc.report.run_page.thinning import kept_points


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), max_size=300), st.integers(4, 60))
def test_few_points_are_kept_with_the_ends_and_the_extremes(values, most):
    found = kept_points(np.array(values, np.float64), most)
    assert len(found) <= max(most, 4)
    assert found.tolist() == sorted(set(found.tolist()))
    if len(values) <= most:
        assert found.tolist() == list(range(len(values)))
        return
    assert (found[0], found[-1]) == (0, len(values) - 1)
    finite = [each for each in values if each == each]
    kept = [values[at] for at in found if values[at] == values[at]]
    if finite:
        assert (min(kept), max(kept)) == (min(finite), max(finite))


def test_one_peak_of_a_million_and_a_gap_stay():
    values = np.zeros(1_000_000)
    values[345_678] = 9.0
    values[500_000:510_000] = np.nan
    kept = kept_points(values, 1000)
    assert 345_678 in kept
    assert np.isnan(values[kept]).any()
    assert len(kept) <= 1000


def test_a_curve_of_too_few_points_is_refused():
    with pytest.raises(ValueError, match="most is 3"):
        kept_points(np.zeros(10), 3)


def test_quantiles_of_a_histogram_are_those_of_the_values():
    rng = np.random.default_rng(0)
    values = [rng.normal(centre, 8, 20_000) for centre in (30, 90)]
    counts = np.array([np.histogram(each, 90, (0, 180))[0] for each in values], np.float64)
    found = histogram_quantiles(counts, (0.05, 0.5, 0.95), low=0, high=180)
    expected = [np.quantile(each, [0.05, 0.5, 0.95]) for each in values]
    assert np.abs(found - expected).max() < 0.5
    none = histogram_quantiles(np.array([[0.0, 0.0], [1, np.nan], [-1, 5]]), (0.5,), low=0, high=1)
    assert np.isnan(none).all()
