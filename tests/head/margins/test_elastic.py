"""ElasticFace: the margins drawn, to whom they go, values of the paper, derivatives."""

import math

import pytest
import torch

import partialfc
from tests.head import reference_margins as reference
from tests.head.margins.examples import N, check_derivatives, check_finite, samples

BASES = {"arcface": (math.pi, reference.arc), "cosface": (2.0, lambda cos, m: cos - m)}


@pytest.mark.parametrize("plus", [False, True], ids=["plain", "plus"])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.05), (0.3, 1.5)], ids=["default", "wide"])
def test_elasticface_is_the_paper_sample_by_sample(base, plus, mean, std):
    margin = partialfc.ElasticFace(base, scale=32.0, mean=mean, std=std, plus=plus)
    largest, function = BASES[base]
    for step in (0, 7):
        given = samples(step=step)
        cosines, draws = given.cos.tolist(), given.normal().tolist()
        margins = reference.elastic_margins(cosines, draws, mean, std, largest, plus)
        assert margin.margins(given).tolist() == pytest.approx(margins, abs=1e-12)
        expected = [32.0 * function(cos, m) for cos, m in zip(cosines, margins, strict=True)]
        assert margin.target(given).tolist() == pytest.approx(expected, abs=1e-10)


def test_margins_have_the_mean_and_deviation_asked_for_and_differ_between_steps():
    margin = partialfc.ElasticFace(mean=0.5, std=0.05)
    drawn = torch.stack([margin.margins(samples(step=step)) for step in range(200)])
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.002)
    assert drawn.std().item() == pytest.approx(0.05, abs=0.002)
    assert len(drawn.unique()) == drawn.numel()


def test_without_deviation_it_is_its_base():
    given = samples()
    for elastic, plain in (
        (partialfc.ElasticFace("arcface", std=0.0), partialfc.ArcFace(margin=0.5)),
        (partialfc.ElasticFace("cosface", mean=0.35, std=0.0), partialfc.CosFace(margin=0.35)),
    ):
        torch.testing.assert_close(elastic.target(given), plain.target(given), atol=1e-12, rtol=0)


def test_plus_gives_the_same_draws_the_largest_to_the_farthest_sample():
    given = samples()
    plain = partialfc.ElasticFace().margins(given)
    plus = partialfc.ElasticFace(plus=True).margins(given)
    assert torch.equal(plain.sort().values, plus.sort().values)
    assert not torch.equal(plain, plus)
    by_cos = plus[given.cos.argsort()]
    assert (by_cos.diff() <= 0).all()


@pytest.mark.parametrize("base", BASES)
def test_derivatives_are_those_of_the_values_or_straight_through(base):
    check_derivatives(partialfc.ElasticFace(base, scale=4.0), "cos")
    check_derivatives(partialfc.ElasticFace(base, scale=4.0, plus=True), "cos")
    cos = samples().cos.requires_grad_()
    margin = partialfc.ElasticFace(base, scale=4.0, margin_gradient="straight_through")
    value = margin.target(samples(cos=cos))
    exact = partialfc.ElasticFace(base, scale=4.0).target(samples())
    torch.testing.assert_close(value.detach(), exact, atol=1e-12, rtol=0)
    value.sum().backward()
    torch.testing.assert_close(cos.grad, torch.full_like(cos, 4.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("base", BASES)
def test_derivatives_are_finite_everywhere(base, dtype):
    check_finite(partialfc.ElasticFace(base, std=2.0, plus=True), dtype)
    check_finite(partialfc.ElasticFace(base), dtype)


def test_an_empty_batch_has_no_margins():
    none = torch.empty(0, dtype=torch.float64)
    given = partialfc.Samples(none, none, seed=0)
    for plus in (False, True):
        assert partialfc.ElasticFace(plus=plus).target(given).shape == (0,)
    assert N


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: partialfc.ElasticFace("sphere"), "base is 'sphere'; it must be one of arcface, cosface"),
        (lambda: partialfc.ElasticFace(mean=3.2), r"mean is 3\.2; .* at least 0 and below 3\.14159"),
        (lambda: partialfc.ElasticFace("cosface", mean=2.0), r"mean is 2\.0; .* below 2"),
        (lambda: partialfc.ElasticFace(std=-0.1), r"std is -0\.1; .* at least 0"),
        (lambda: partialfc.ElasticFace(plus=None), "plus is None; .* False, True"),
        (lambda: partialfc.ElasticFace(scale=0), "scale is 0"),
        (lambda: partialfc.ElasticFace(margin_gradient="no"), "margin_gradient is 'no'"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_all_settings_are_shown():
    assert repr(partialfc.ElasticFace()) == (
        "ElasticFace(base=arcface, scale=64.0, mean=0.5, std=0.05, plus=False, margin_gradient=exact)"
    )
