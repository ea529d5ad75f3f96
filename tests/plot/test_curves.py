"""The numbers of the margins' picture: those of scalar formulas, for every margin of the package."""

import math

import numpy as np
import pytest

import partialfc
from partialfc.plot.curves import MARGINS, Shown
from partialfc.plot.margins_picture import NEAR, draw_boundary, draw_negatives, draw_targets, winner
from partialfc.report.figure import new_figure

DEGREES = np.linspace(0.0, 180.0, 37)
BY_NAME = {each.name: each for each in MARGINS}


def arcface(theta: float, m: float) -> float:
    """Beyond pi as the library's default goes on."""
    return math.cos(theta + m) if theta + m < math.pi else math.cos(theta) - m * math.sin(m)


def psi(theta: float, m: int) -> float:
    k = min(int(theta * m / math.pi), m - 1)
    return (-1) ** k * math.cos(m * theta) - 2 * k


def adaface(theta: float, z: float) -> float:
    angle = min(max(theta - 0.4 * z, 1e-3), math.pi - 1e-3)
    return math.cos(angle) - (0.4 + 0.4 * z)


TARGETS = {
    "softmax, plain, modified, normalized": math.cos,
    "L-Softmax and SphereFace, m = 4, lambda = 0": lambda theta: psi(theta, 4),
    "SphereFace, m = 4, lambda = 5": lambda theta: (5 * math.cos(theta) + psi(theta, 4)) / 6,
    "CosFace, m = 0.35": lambda theta: math.cos(theta) - 0.35,
    "ArcFace, m = 0.5": lambda theta: arcface(theta, 0.5),
    "MagFace, norm 10": lambda theta: arcface(theta, 0.45),
    "AdaFace, norm 5 (z = -1)": lambda theta: adaface(theta, -1),
    "AdaFace, norm 20 (z = 0)": lambda theta: adaface(theta, 0),
    "AdaFace, norm 35 (z = 1)": lambda theta: adaface(theta, 1),
    "ElasticFace, 0.4 drawn": lambda theta: arcface(theta, 0.4),
    "MV-Softmax, t = 0.2": lambda theta: arcface(theta, 0.5),
    "CurricularFace, t = 0.5": lambda theta: arcface(theta, 0.5),
}


@pytest.mark.parametrize("name", TARGETS)
def test_the_own_classes_logit_is_that_of_the_formula(name):
    expected = [TARGETS[name](math.radians(each)) for each in DEGREES]
    np.testing.assert_allclose(BY_NAME[name].target(DEGREES), expected, atol=2e-4)


def raised(name: str, cos: float, target: float) -> float:
    """What MV-Softmax and CurricularFace make of another class's cosine."""
    if cos <= target:
        return cos
    by_name = {
        "MV-Softmax, t = 0.2": cos + 0.2,
        "MV-Softmax, adaptive": 1.2 * cos + 0.2,
        "CurricularFace, t = 0": cos * cos,
        "CurricularFace, t = 0.5": cos * (0.5 + cos),
    }
    return by_name.get(name, cos)


@pytest.mark.parametrize("name", BY_NAME)
def test_another_classes_logit_is_that_of_the_formula(name):
    shown = BY_NAME[name]
    logits = shown.negative(DEGREES, target_degrees=np.array([20.0, 60.0]))
    for column, target in enumerate(shown.target(np.array([20.0, 60.0]))):
        expected = [raised(name, math.cos(math.radians(each)), target) for each in DEGREES]
        np.testing.assert_allclose(logits[:, column], expected, atol=1e-9)


def test_every_margin_of_the_package_is_drawn():
    drawn = {type(each.make()).__name__ for each in MARGINS}
    margins = {
        name
        for name in partialfc.__all__
        if isinstance(getattr(partialfc, name), type)
        and issubclass(getattr(partialfc, name), partialfc.Margin)
    }
    without = {"Margin", "Softmax", "ModifiedSoftmax", "SubCenter"}  # the lines of others
    assert margins - without <= drawn


@pytest.mark.parametrize(("name", "own", "other"), [("ArcFace, m = 0.5", 60 - math.degrees(0.5), 60)])
def test_the_boundary_is_where_the_own_logit_is_the_others(name, own, other):
    excess = BY_NAME[name].excess(np.array([own - 0.1, own + 0.1]), np.array([other]))
    assert excess[0, 0] > 0 > excess[0, 1]


def test_between_the_classes_there_is_the_margin_and_without_one_nothing():
    for each in MARGINS:
        regions = winner(each)
        np.testing.assert_array_equal(regions, -regions.T)
        between = np.count_nonzero(regions == 0) - len(NEAR)  # the diagonal is nobody's
        assert (between > 0) == (each.family != "softmax"), each.name


def test_the_picture_has_a_line_for_each_with_those_numbers():
    _, (left, right, _) = new_figure(3, width=9, height=3)
    some = [BY_NAME["ArcFace, m = 0.5"], BY_NAME["CosFace, m = 0.35"]]
    draw_targets(left, some)
    for line, each in zip(left.get_lines(), some, strict=True):
        assert line.get_label() == each.name
        np.testing.assert_array_equal(line.get_ydata(), each.target(line.get_xdata()))
    draw_negatives(right, [BY_NAME["MV-Softmax, t = 0.2"]])
    assert [line.get_label() for line in right.get_lines()[:2]] == ["all others", "MV-Softmax, t = 0.2"]


def test_the_legend_covers_no_line():
    figure, (axes, _) = new_figure(2, width=13, height=7)
    draw_targets(axes, [each for each in MARGINS if not each.reweights_negatives])
    figure.draw_without_rendering()
    assert not axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())


def test_a_margin_of_ones_own_is_a_line():
    class Halved(partialfc.Margin):
        def target(self, samples):
            return 0.5 * self.scale * samples.cos

    shown = Shown("mine", "half", lambda: Halved(scale=8.0))
    np.testing.assert_allclose(shown.target(np.array([0.0, 60.0])), [0.5, 0.25])
    _, (axes, _) = new_figure(2, width=4, height=2)
    draw_boundary(axes, shown)
    assert axes.get_title() == "mine\nhalf"
