"""SphereFace and LargeMarginSoftmax: psi, lambda, values of the papers, derivatives."""

import math

import pytest
import torch

import partialfc
from partialfc.head.margins.sphereface import psi
from tests.head import reference_margins as reference
from tests.head.margins.examples import check_derivatives, check_finite, samples

BOTH = pytest.mark.parametrize(
    "make", [partialfc.SphereFace, partialfc.LargeMarginSoftmax], ids=["sphereface", "large_margin_softmax"]
)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_psi_is_the_papers_and_falls_from_1_to_1_minus_2m(m):
    theta = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    value = psi(theta.cos(), m)
    expected = [reference.psi(cos, m) for cos in theta.cos().tolist()]
    assert value.tolist() == pytest.approx(expected, abs=1e-12)
    assert (value.diff() < 0).all()
    assert value[0].item() == 1.0
    assert value[-1].item() == 1 - 2 * m


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("step", [0, 3, 10_000])
def test_sphereface_is_the_paper_sample_by_sample(m, step):
    margin = partialfc.SphereFace(m)
    given = samples(step=step, centre_norm=None)
    for value, cos, norm in zip(margin.target(given), given.cos.tolist(), given.norm.tolist(), strict=True):
        expected = norm * reference.annealed(cos, m, step, 5.0, 1000.0, 0.12)
        assert value.item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("lambdas", [(), (0.5, 8.0, 0.1)], ids=["default", "annealed"])
def test_large_margin_softmax_is_the_paper_sample_by_sample(m, lambdas):
    names = ("lambda_min", "lambda_base", "lambda_gamma")
    margin = partialfc.LargeMarginSoftmax(m, **dict(zip(names, lambdas, strict=False)))
    given = samples(step=40)
    for i, value in enumerate(margin.target(given)):
        norms = given.norm[i].item() * given.centre_norm[i].item()
        expected = norms * reference.annealed(given.cos[i].item(), m, 40, *lambdas)
        assert value.item() == pytest.approx(expected, abs=1e-10)


def test_lambda_falls_with_the_step_to_its_smallest():
    margin = partialfc.SphereFace()
    assert [margin.weight_at(step) for step in (0, 1, 10**6)] == [1000.0, 1000 / 1.12, 5.0]


def test_a_factor_of_1_is_the_softmax_without_a_margin():
    given = samples()
    plain = samples(centre_norm=None)
    torch.testing.assert_close(
        partialfc.SphereFace(1).target(plain), partialfc.ModifiedSoftmax().target(plain)
    )
    torch.testing.assert_close(
        partialfc.LargeMarginSoftmax(1).target(given), partialfc.Softmax().target(given)
    )


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_derivatives_are_those_of_the_values(m):
    check_derivatives(partialfc.SphereFace(m), "cos", "norm", centre_norm=None, step=100)
    check_derivatives(partialfc.LargeMarginSoftmax(m), "cos", "norm", "centre_norm")


@BOTH
def test_straight_through_keeps_the_value_and_drops_the_margins_derivative(make):
    given = samples(cos=samples().cos.requires_grad_(), norm=samples().norm.requires_grad_())
    value = make(margin_gradient="straight_through").target(given)
    exact = make().target(samples())
    torch.testing.assert_close(value.detach(), exact, atol=1e-10, rtol=0)
    value.sum().backward()
    torch.testing.assert_close(given.cos.grad, (given.norm * given.centre_norm).detach())
    torch.testing.assert_close(given.norm.grad, (exact / given.norm).detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@BOTH
def test_derivatives_are_finite_everywhere(make, dtype):
    for m in (1, 2, 3, 4):
        check_finite(make(m), dtype)


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"m": 0}, "m is 0; it must be a whole number of at least 1"),
        ({"m": 5}, "m is 5; it must be one of 1, 2, 3, 4"),
        ({"m": 2.5}, r"m is 2\.5; it must be a whole number"),
        ({"m": True}, "m is True"),
        ({"lambda_min": -1}, "lambda_min is -1; .* at least 0"),
        ({"lambda_base": math.inf}, "lambda_base is inf"),
        ({"lambda_gamma": "x"}, "lambda_gamma is 'x'"),
        ({"margin_gradient": "none"}, "margin_gradient is 'none'"),
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_all_settings_are_shown():
    assert repr(partialfc.SphereFace()) == (
        "SphereFace(m=4, lambda_min=5.0, lambda_base=1000.0, lambda_gamma=0.12, margin_gradient=exact)"
    )
