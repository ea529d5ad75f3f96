"""Quantiles of values of which only a histogram is known."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def histogram_quantiles(counts: Floats, shares: tuple[float, ...], *, low: float, high: float) -> Floats:
    """counts [n, bins], of bins of equal width from low to high -> the quantiles [n, len(shares)].

    Within a bin values are taken to lie evenly. NaN for a histogram that counts nothing, or that holds what
    is no count.
    """
    bins = counts.shape[1]
    usable = (np.isfinite(counts) & (counts >= 0)).all(axis=1)
    counts = np.where(usable.reshape(-1, 1), counts, 0.0)
    before = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts, 1)], 1)
    total = before[:, -1:]
    found = np.full((len(counts), len(shares)), np.nan)
    for column, share in enumerate(shares):
        wanted = share * total
        inside = np.minimum((before[:, 1:] < wanted).sum(1), bins - 1)
        rows = np.arange(len(counts))
        with np.errstate(invalid="ignore", divide="ignore"):
            part = (wanted[:, 0] - before[rows, inside]) / counts[rows, inside]
        place = inside + np.clip(np.where(np.isfinite(part), part, 0.0), 0, 1)
        found[:, column] = np.where(total[:, 0] > 0, low + (high - low) / bins * place, np.nan)
    return found
