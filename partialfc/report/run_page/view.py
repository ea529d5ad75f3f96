"""How much of its y axis a chart shows at first, where a few values or one run would flatten all others."""

from collections.abc import Sequence

import numpy as np

from partialfc.report.run_page.quantiles import Floats

View = tuple[float, float]
FAR = 10.0  # widths of a line's middle half, beyond which a value counts as far out
FLAT = 3.0  # what is left out must make the rest at least so many times as tall
DECADES = 4.0  # a logarithmic axis shows at most so many
LOW = 0.05  # of a linear axis: its lowest part, in which a line looks flat
MUCH = 0.3  # of a line: so much of it in that part is hidden there
MUCH_OUT = 0.5  # of all values: so much is not left out below a logarithmic axis
WIDE = 10.0  # the greatest value divided by the least from which on a logarithmic axis shows more


def scale_of(lines: Sequence[Floats]) -> tuple[bool, View | None]:
    """The values [n] of each line -> whether the axis is logarithmic, and which part of it is shown.

    None: all of it. False, None: a linear axis shows all values well.
    """
    finite = [each[np.isfinite(each)] for each in lines]
    finite = [each for each in finite if len(each)]
    if not finite:
        return False, None
    low, high = min(each.min() for each in finite), max(each.max() for each in finite)
    least, most = _without_a_few([_middle(each) for each in finite], len(finite) // 2 + 1)
    even = high - low <= FLAT * (most - least) or most <= least
    if even and (high < WIDE * low or not any(np.mean(each <= LOW * high) >= MUCH for each in finite)):
        return False, None
    last = high / 10**DECADES
    if low > 0 and np.mean(np.concatenate(finite) < last) < MUCH_OUT:
        return True, None if low >= last else (float(last), float(high))
    return False, None if even else (float(least), float(most))


def _middle(values: Floats) -> View:
    """The least and the greatest of the values that are not far out."""
    first, third = np.quantile(values, [0.25, 0.75])
    air = FAR * (third - first)
    near = values[(values >= first - air) & (values <= third + air)] if air > 0 else values
    return float(near.min()), float(near.max())


def _without_a_few(ranges: Sequence[View], needed: int) -> View:
    """What holds the ranges, or those of them, `needed` at least, that the others would make flat.

    The others lie beyond a gap, again and again.
    """
    order = sorted(ranges)
    tops = np.maximum.accumulate([high for _, high in order]).tolist()
    whole = order[0][0], tops[-1]
    gaps = (count for count in range(1, len(order)) if order[count][0] > tops[count - 1])
    parts = [part for count in gaps for part in (order[:count], order[count:]) if len(part) >= needed]
    part = min(parts, key=_height, default=order)
    if whole[1] - whole[0] > FLAT * _height(part):
        return _without_a_few(part, needed)
    return whole


def _height(ranges: Sequence[View]) -> float:
    return max(high for _, high in ranges) - min(low for low, _ in ranges)
