"""What of a chart's y axis is shown at first: everything, unless a few values would flatten all others."""

import numpy as np
import pytest

from partialfc.report.run_page.view import scale_of

FALLING = np.linspace(12, 2, 50)
NEAR = [FALLING + shift for shift in (0, 0.5, 1, 2)]


def spiked(values: np.ndarray, value: float) -> np.ndarray:
    return np.where(np.arange(len(values)) == 30, value, values)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([FALLING], (False, None)),
        (NEAR, (False, None)),
        ([*NEAR, FALLING - 160], (False, (2, 14))),
        ([*NEAR, FALLING - 160, FALLING + 1e9], (False, (2, 14))),
        ([FALLING, FALLING - 160], (False, None)),
        ([spiked(FALLING, 5000.0)], (True, None)),
        ([spiked(FALLING, 5e7)], (False, (2, 12))),
        ([spiked(FALLING - 5, 500.0)], (False, (-3, 7))),
        ([np.append(np.full(40, 3.0), 9)], (False, None)),
        ([np.full(5, np.nan), np.zeros(0)], (False, None)),
        ([np.array([3.0])], (False, None)),
        ([spiked(FALLING, np.nan)], (False, None)),
    ],
    ids=[
        "one line", "lines that are near", "one far below", "one below, one above", "two far apart", "a peak",
        "a huge peak", "a peak, and values below 0", "a constant that jumps", "nothing", "a point", "a gap",
    ],
)  # fmt: skip
def test_an_axis_leaves_out_what_would_flatten_the_rest(lines, expected):
    log, view = scale_of(lines)
    assert log == expected[0]
    assert (view is None) == (expected[1] is None)
    if view is not None:
        assert view == pytest.approx(expected[1])
