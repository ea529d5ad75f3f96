"""A margin for each class from how many samples it has."""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.head.arguments import above, at_least
from partialfc.head.weights import real_numbers, refuse_first

SMALLEST, LARGEST = 0.05, 0.5  # margins of Ha et al. 2020


def margins_of_class_sizes(
    sizes: Tensor | npt.ArrayLike, *, exponent: float = 0.25, a: float | None = None, b: float | None = None
) -> Tensor:
    """The margin a · n^-exponent + b of each class, n its number of samples: the fewer, the larger.

    For the `class_margins` of a PartialFC. Ha et al. 2020, "Google Landmark Recognition 2020 Competition
    Third Place Solution" (arXiv:2010.05350), "dynamic margins". A class without samples gets the margin of
    the smallest one that has some.

    Args:
        sizes (Tensor | ArrayLike): [C], how many samples each class has, at least one of them above 0.
        exponent (float): The paper's lambda, above 0. Default 0.25.
        a (float | None): At least 0. None (default), as b then: a and b with which the largest class has a
            margin of 0.05 and the smallest one 0.5, as the paper's authors have it.
        b (float | None): At least 0.

    Returns:
        Tensor: [C] float64.

    Raises:
        ValueError: for an argument of another type or out of its range, one of a and b without the other, or
            a margin of pi or more.
    """
    numbers = real_numbers("sizes", sizes)
    if numbers.ndim != 1:
        raise ValueError(f"sizes has the shape {numbers.shape}; it must be [C], one number for each class")
    good = (numbers >= 0) & (numbers < np.inf) & (numbers == np.floor(numbers))
    refuse_first("sizes", numbers, ~good, "the size of a class must be a whole number of at least 0")
    if not numbers.any():
        raise ValueError("sizes has no number above 0; it must say how many samples each class has")
    exponent = above("exponent", exponent, 0.0)
    if (a is None) != (b is None):
        raise ValueError(f"a is {a} and b is {b}; both must be numbers, or both None")
    falling = np.maximum(numbers, numbers[numbers > 0].min()) ** -exponent
    if a is None or b is None:
        spread = float(falling.max() - falling.min())
        a = (LARGEST - SMALLEST) / spread if spread > 0.0 else 0.0
        margins = LARGEST - a * (falling.max() - falling)
    else:
        margins = at_least("a", a, 0.0) * falling + at_least("b", b, 0.0)
    refuse_first("the margins that a and b give", margins, margins >= math.pi, "a margin must be below pi")
    return torch.from_numpy(margins)
