"""Margins: value, true derivative, continuation past pi, straight-through, bad input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import partialfc
from tests.head import reference
from tests.head.reference_margins import arc

FUNCTIONS = {
    "arcface": (partialfc.ArcFace(scale=1.0, margin=0.5), reference.combined(1, 0.5, 0)),
    "arcface large": (partialfc.ArcFace(scale=1.0, margin=2.5), reference.combined(1, 2.5, 0)),
    "arcface easy": (
        partialfc.ArcFace(scale=1.0, margin=0.5, beyond_pi="easy"),
        reference.combined(1, 0.5, 0, "easy"),
    ),
    "cosface": (partialfc.CosFace(scale=1.0, margin=0.35), reference.combined(1, 0, 0.35)),
    "softmax": (partialfc.NormalizedSoftmax(scale=1.0), reference.combined(1, 0, 0)),
    "sphere": (partialfc.CombinedMargin(1.7, 0.0, 0.0, scale=1.0), reference.combined(1.7, 0, 0)),
    "all three": (partialfc.CombinedMargin(1.2, 0.4, 0.1, scale=1.0), reference.combined(1.2, 0.4, 0.1)),
    "all three, m1 = 4": (
        partialfc.CombinedMargin(4.0, 0.4, 0.1, scale=1.0),
        reference.combined(4, 0.4, 0.1),
    ),
}


def target(margin, cos):
    return margin.target(partialfc.Samples(cos, torch.ones_like(cos)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_and_derivative_match_the_arccos_formula(name):
    margin, function = FUNCTIONS[name]
    cos = torch.linspace(-0.9999, 0.9999, 4001, dtype=torch.float64, requires_grad=True)
    plain = cos.detach().clone().requires_grad_()
    value, expected = target(margin, cos), function(plain)
    torch.testing.assert_close(value, expected, atol=1e-12, rtol=0)
    value.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(cos.grad, plain.grad, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(deadline=None)
@given(st.floats(-0.999, 0.999))
def test_derivative_matches_finite_differences(name, at):
    margin, _ = FUNCTIONS[name]
    cos = torch.tensor([at], dtype=torch.float64, requires_grad=True)
    target(margin, cos).backward()
    step = 1e-7
    with torch.no_grad():
        around = [target(margin, torch.tensor([at + d], dtype=torch.float64)).item() for d in (-step, step)]
    slope = (around[1] - around[0]) / (2 * step)
    if abs(slope) < 1e3:  # the step does not straddle the jump past pi
        assert cos.grad.item() == pytest.approx(slope, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivative_is_finite_everywhere(name, dtype):
    margin, _ = FUNCTIONS[name]
    tiny = torch.finfo(dtype).eps
    cos = torch.tensor(
        [-1 - tiny, -1, -1 + tiny, -0.5, 0, 0.5, 1 - tiny / 2, 1, 1 + tiny], dtype=dtype, requires_grad=True
    )
    value = target(margin, cos)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(cos.grad).all()


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "easy" not in name])
def test_a_larger_angle_never_gets_a_larger_logit(name):
    margin, _ = FUNCTIONS[name]
    cos = torch.linspace(-1, 1, 10_001, dtype=torch.float64)
    assert (target(margin, cos).diff() > -1e-12).all()


def test_arcface_past_pi_is_the_usual_line():
    margin = partialfc.ArcFace(scale=64.0, margin=0.5)
    cos = torch.tensor([-0.95], dtype=torch.float64)
    assert target(margin, cos).item() == pytest.approx(64 * (-0.95 - 0.5 * math.sin(0.5)), abs=1e-12)


def test_easy_leaves_negative_cosines_alone():
    margin = partialfc.ArcFace(scale=1.0, margin=0.5, beyond_pi="easy")
    cos = torch.tensor([-0.3, 0.3], dtype=torch.float64)
    expected = [-0.3, math.cos(math.acos(0.3) + 0.5)]
    torch.testing.assert_close(target(margin, cos).tolist(), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda how: partialfc.ArcFace(scale=64.0, margin_gradient=how),
        lambda how: partialfc.CosFace(scale=64.0, margin_gradient=how),
        lambda how: partialfc.NormalizedSoftmax(scale=64.0, margin_gradient=how),
        lambda how: partialfc.CombinedMargin(1.3, 0.3, 0.1, scale=64.0, margin_gradient=how),
    ],
)
def test_straight_through_keeps_the_value_and_drops_the_derivative(make):
    cos = torch.linspace(-1, 1, 101, dtype=torch.float64, requires_grad=True)
    value = target(make("straight_through"), cos)
    torch.testing.assert_close(value, target(make("exact"), cos), atol=1e-12, rtol=0)
    value.sum().backward()
    torch.testing.assert_close(cos.grad, torch.full_like(cos, 64.0))


BY_CLASS = {
    "arcface": (lambda m: partialfc.ArcFace(scale=8.0, margin=m), "m2"),
    "arcface easy": (lambda m: partialfc.ArcFace(scale=8.0, margin=m, beyond_pi="easy"), "m2"),
    "cosface": (lambda m: partialfc.CosFace(scale=8.0, margin=m), "m3"),
    "curricularface": (lambda m: partialfc.CurricularFace(scale=8.0, margin=m), "m2"),
    "sphere with an angle": (lambda m: partialfc.CombinedMargin(1.3, m, 0.0, scale=8.0), "m2"),
    "sphere with a cosine": (lambda m: partialfc.CombinedMargin(1.3, 0.0, m, scale=8.0), "m3"),
    "straight through": (
        lambda m: partialfc.ArcFace(scale=8.0, margin=m, margin_gradient="straight_through"),
        "m2",
    ),
}


@pytest.mark.parametrize("name", BY_CLASS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_class_margin_stands_in_place_of_the_margin(name, dtype):
    make, which = BY_CLASS[name]
    assert make(0.4).given_by_class == which
    assert make(0.4).takes_class_margins
    cos = torch.linspace(-1, 1, 41, dtype=dtype)
    of_classes = [0.0, 0.1, 0.5, 1.5] + ([2.5, 3.1] if which == "m2" else [])
    for m in of_classes:
        given = torch.full_like(cos, m)
        x, y = (cos.clone().requires_grad_() for _ in range(2))
        value = make(0.4).target(partialfc.Samples(x, torch.ones_like(cos), class_margin=given))
        expected = make(m or 1e-300).target(partialfc.Samples(y, torch.ones_like(cos)))
        assert value.dtype == dtype
        torch.testing.assert_close(value, expected)
        value.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(x.grad, y.grad)


def test_each_sample_has_the_margin_of_its_own_class():
    cos = torch.linspace(-0.9, 0.9, 50, dtype=torch.float64)
    margins = torch.linspace(0.0, 3.0, 50, dtype=torch.float64)
    value = partialfc.ArcFace(scale=8.0).target(
        partialfc.Samples(cos, torch.ones_like(cos), class_margin=margins)
    )
    expected = [8.0 * arc(c, m) for c, m in zip(cos.tolist(), margins.tolist(), strict=True)]
    assert value.tolist() == pytest.approx(expected, abs=1e-12)


def test_a_class_margin_replaces_the_only_one_and_nothing_where_there_are_two_or_none():
    for margin in (partialfc.CombinedMargin(m2=0.3, m3=0.2), partialfc.NormalizedSoftmax()):
        assert margin.given_by_class is None
        assert not margin.takes_class_margins
    assert partialfc.ArcFace(margin=0.0).takes_class_margins
    assert partialfc.CosFace(margin=0.0).takes_class_margins


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: partialfc.ArcFace(scale=0.0), r"scale is 0\.0; .* above 0"),
        (lambda: partialfc.ArcFace(scale=-3), "scale is -3"),
        (lambda: partialfc.ArcFace(scale=math.nan), "scale is nan"),
        (lambda: partialfc.ArcFace(scale="64"), "scale is '64'"),
        (lambda: partialfc.ArcFace(scale=True), "scale is True"),
        (lambda: partialfc.ArcFace(margin=-0.1), r"margin is -0\.1; .* at least 0 and below 3\.14159"),
        (lambda: partialfc.ArcFace(margin=3.2), r"margin is 3\.2"),
        (lambda: partialfc.CosFace(margin=2.0), r"margin is 2\.0; .* below 2"),
        (lambda: partialfc.CombinedMargin(m1=0.5), r"m1 is 0\.5; .* at least 1"),
        (lambda: partialfc.CombinedMargin(m2=math.inf), "m2 is inf"),
        (lambda: partialfc.CombinedMargin(m3=-1), "m3 is -1"),
        (lambda: partialfc.ArcFace(beyond_pi="soft"), "beyond_pi is 'soft'; it must be one of hard, easy"),
        (lambda: partialfc.ArcFace(margin_gradient="none"), "margin_gradient is 'none'"),
    ],
)
def test_margins_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
