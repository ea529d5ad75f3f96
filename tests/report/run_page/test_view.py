"""What of a chart's y axis is shown at first: everything, unless a few values would flatten all others."""

import numpy as np
import pytest

from partialfc.report.run_page.view import scale_of

FALLING = np.linspace(12, 2, 50)
STEPPED = np.repeat([0.1, 0.01, 0.001], 20)
COSINE = 0.05 * (1 + np.cos(np.linspace(0, 3.1, 50)))
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
        ([STEPPED], (True, None)),
        ([COSINE], (False, None)),
        ([COSINE, 0.01 * COSINE], (True, (1e-5, 0.1))),
        ([10 ** np.linspace(0, -6, 50)], (True, (1e-4, 1))),
        ([np.append(STEPPED, 0)], (False, None)),
        ([FALLING, np.full(50, 0.15)], (True, None)),
        ([FALLING / 10], (False, None)),
    ],
    ids=[
        "one line", "lines that are near", "one far below", "one below, one above", "two far apart", "a peak",
        "a huge peak", "a peak, and values below 0", "a constant that jumps", "nothing", "a point", "a gap",
        "in steps", "a cosine", "two cosines", "many decades", "a zero", "a small one", "not so wide",
    ],
)  # fmt: skip
def test_an_axis_leaves_out_what_would_flatten_the_rest(lines, expected):
    log, view = scale_of(lines)
    assert log == expected[0]
    assert (view is None) == (expected[1] is None)
    if view is not None:
        assert view == pytest.approx(expected[1])
