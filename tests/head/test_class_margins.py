"""A margin for each class from its size."""

import math

import numpy as np
import pytest
import torch

import partialfc


def test_a_margin_falls_with_the_size_of_the_class():
    sizes = [1, 16, 81, 0]
    margins = partialfc.margins_of_class_sizes(sizes, a=0.4, b=0.1)
    assert margins.dtype == torch.float64
    assert margins.tolist() == pytest.approx([0.5, 0.3, 0.4 / 3 + 0.1, 0.5], abs=1e-15)
    squared = partialfc.margins_of_class_sizes(torch.tensor(sizes), a=0.4, b=0.1, exponent=0.5)
    assert squared.tolist() == pytest.approx([0.5, 0.2, 0.4 / 9 + 0.1, 0.5], abs=1e-15)


def test_the_default_is_the_recipe_of_the_landmark_winners():
    """sqrt(1 / sqrt(n)), moved to 0.05..0.5."""
    sizes = np.random.default_rng(0).integers(2, 5000, 1000)
    value = np.sqrt(1 / np.sqrt(sizes))
    expected = (value - value.min()) / (value.max() - value.min()) * 0.45 + 0.05
    np.testing.assert_allclose(partialfc.margins_of_class_sizes(sizes).numpy(), expected, rtol=0, atol=1e-14)


def test_classes_of_one_size_have_one_margin():
    assert partialfc.margins_of_class_sizes([7, 7, 0]).tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ([1, -2], {}, r"sizes\[1\] is -2\.0; the size of a class must be a whole number of at least 0"),
        ([1, 2.5], {}, r"sizes\[1\] is 2\.5"),
        ([1, math.nan], {}, r"sizes\[1\] is nan"),
        ([0, 0], {}, "sizes has no number above 0"),
        ([[1]], {}, r"sizes has the shape \(1, 1\); it must be \[C\]"),
        (["many"], {}, "sizes is a list; it must be a tensor or an array of real numbers"),
        ([1], {"a": 0.5}, "a is 0.5 and b is None; both must be numbers, or both None"),
        ([1], {"exponent": 0.0}, "exponent is 0.0"),
        ([9, 1], {"a": 3.0, "b": 0.2}, r"that a and b give\[1\] is 3\.2; a margin must be below pi"),
        ([1], {"a": -1.0, "b": 0.2}, "a is -1.0"),
    ],
)
def test_what_gives_no_margins_is_refused(sizes, options, message):
    with pytest.raises(ValueError, match=message):
        partialfc.margins_of_class_sizes(sizes, **options)


@pytest.mark.parametrize(
    ("margin", "below"),
    [
        (partialfc.ArcFace(), 3.14),
        (partialfc.CurricularFace(), 3.14),
        (partialfc.CombinedMargin(1.5, 0.2, 0.0), 3.14),
        (partialfc.CosFace(), 2.0),
        (partialfc.CombinedMargin(1.5, 0.0, 0.2), 2.0),
        (partialfc.MVSoftmax(partialfc.CosFace()), 2.0),
        (partialfc.SubCenter(k=2, base=partialfc.CosFace()), 2.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_margins_of_classes_are_in_the_margins_own_range(margin, below):
    partialfc.PartialFC(4, 3, margin=margin, class_margins=[0.0, 0.1, below - 0.01])
    says = r"class_margins\[1\] is 3\.2; .* must be at least 0 and below " + ("pi" if below > 2 else "2")
    with pytest.raises(ValueError, match=says):
        partialfc.PartialFC(4, 3, margin=margin, class_margins=[0.1, 3.2, 0.1])


def test_a_margin_whose_class_margins_have_another_range_cannot_follow():
    first, second = partialfc.CombinedMargin(1.0, 0.1, 0.0), partialfc.CombinedMargin(1.0, 0.0, 0.1)
    head = partialfc.PartialFC(4, 3, margin=first, class_margins=[2.5] * 3)
    with pytest.raises(ValueError, match="their largest_class_margin differ"):
        head.reconfigure(margin=second)
