"""MagFace and AdaFace: values of the papers, derivatives, running averages, the bound of lambda_g."""

import copy
import warnings
from dataclasses import replace

import pytest
import torch

import partialfc
from tests.head import reference_margins as reference
from tests.head.margins.examples import check_derivatives, check_finite, samples

pytestmark = pytest.mark.filterwarnings("ignore:lambda_g of MagFace")


@pytest.mark.parametrize(
    "options",
    [{}, {"l_a": 2.0, "u_a": 30.0, "l_m": 0.0, "u_m": 3.0, "lambda_g": 3.0}],
    ids=["default", "wide"],
)
def test_magface_is_the_paper_sample_by_sample(options):
    margin = partialfc.MagFace(scale=64.0, **options)
    given = samples()
    target, penalty = margin.target(given), margin.regulariser(given)
    lines = {name: options[name] for name in ("l_a", "u_a", "l_m", "u_m") if name in options}
    ends = {name: options[name] for name in ("l_a", "u_a") if name in options}
    for i in range(len(target)):
        cos, norm = given.cos[i].item(), given.norm[i].item()
        assert target[i].item() == pytest.approx(64.0 * reference.magface(cos, norm, **lines), abs=1e-10)
        expected = reference.magface_penalty(norm, margin.lambda_g, **ends)
        assert penalty[i].item() == pytest.approx(expected, abs=1e-12)


def test_magface_has_the_derivatives_of_its_values():
    margin = partialfc.MagFace(scale=4.0, l_a=2.0, u_a=60.0, u_m=1.5)
    check_derivatives(margin, "cos", "norm")
    norm = samples().norm.requires_grad_()
    assert torch.autograd.gradcheck(lambda norm: margin.regulariser(samples(norm=norm)), (norm,))


def test_longer_embeddings_get_a_larger_margin_and_a_smaller_penalty():
    margin = partialfc.MagFace()
    norm = torch.linspace(10.0, 110.0, 50, dtype=torch.float64)
    given = partialfc.Samples(torch.full_like(norm, 0.5), norm)
    assert (margin.target(given).diff() < 0).all()
    assert (margin.regulariser(given).diff() < 0).all()


BOUND = 64 * 0.0035 * (110**2 * 10**2) / (110**2 - 10**2)  # 22.59


def test_a_lambda_g_below_the_papers_bound_warns_with_both_numbers():
    with pytest.warns(RuntimeWarning, match=r"lambda_g of MagFace is 20, below .*, 22\.59 for this"):
        margin = partialfc.MagFace()
    assert margin.lambda_g_bound == pytest.approx(BOUND)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        partialfc.MagFace(lambda_g=35.0)
        partialfc.MagFace(scale=16.0)
        copy.deepcopy(margin)


@pytest.mark.parametrize(("lambda_g", "grows"), [(1.01 * BOUND, True), (0.99 * BOUND, False)])
def test_from_that_bound_on_no_norm_stays_at_its_smallest(lambda_g, grows):
    """Where the pull of the margin is strongest: a target of probability 0, at a right angle after it."""
    margin = partialfc.MagFace(lambda_g=lambda_g)
    norm = torch.tensor([margin.l_a], dtype=torch.float64, requires_grad=True)
    right_angle = torch.tensor([torch.pi / 2 - margin.l_m], dtype=torch.float64).cos()
    given = partialfc.Samples(right_angle, norm)
    (margin.regulariser(given) - margin.target(given)).backward()
    assert (norm.grad.item() < 0) == grows


def test_adaface_is_the_paper_sample_by_sample_and_batch_by_batch():
    margin = partialfc.AdaFace(scale=32.0, margin=0.5, h=0.4, momentum=0.3)
    mean, std = 20.0, 100.0
    for seed in range(4):
        given = samples(seed)
        norms = given.norm.tolist()
        margin.update(given)
        mean, std = reference.adaface_averages(mean, std, norms, 0.3)
        assert margin.mean.item() == pytest.approx(mean, rel=1e-14)
        assert margin.std.item() == pytest.approx(std, rel=1e-13)
        for value, cos, norm in zip(margin.target(given), given.cos.tolist(), norms, strict=True):
            expected = reference.adaface(cos, norm, mean, std, 0.5, 0.4)
            assert value.item() == pytest.approx(32.0 * expected, abs=1e-10)


def test_adaface_moves_by_the_published_numbers():
    """At first 20 and 100; a hundredth of each batch."""
    margin = partialfc.AdaFace()
    norm = torch.tensor([10.0, 30.0, 1000.0, 0.0], dtype=torch.float64)
    margin.update(partialfc.Samples(torch.zeros(4, dtype=torch.float64), norm))
    assert margin.mean.item() == pytest.approx(0.01 * (10 + 30 + 100 + 0.001) / 4 + 0.99 * 20)
    held = torch.tensor([10.0, 30.0, 100.0, 0.001], dtype=torch.float64)
    assert margin.std.item() == pytest.approx(0.01 * held.std(correction=1).item() + 0.99 * 100)


def test_a_batch_of_one_has_no_deviation_and_an_empty_one_moves_nothing():
    margin = partialfc.AdaFace(momentum=0.5)
    one = torch.tensor([40.0], dtype=torch.float64)
    margin.update(partialfc.Samples(one * 0.0, one))
    assert (margin.mean.item(), margin.std.item()) == (30.0, 100.0)
    margin.update(partialfc.Samples(one[:0], one[:0]))
    assert (margin.mean.item(), margin.std.item()) == (30.0, 100.0)


def test_adaface_has_the_derivative_by_the_cosine_and_none_by_the_norm():
    margin = partialfc.AdaFace(scale=4.0)
    margin.update(samples(3))
    check_derivatives(margin, "cos")
    given = samples(norm=samples().norm.requires_grad_(), cos=samples().cos.requires_grad_())
    target = margin.target(given).sum()
    by_cos, by_norm = torch.autograd.grad(target, (given.cos, given.norm), allow_unused=True)
    assert by_norm is None
    assert torch.count_nonzero(by_cos) > 0


def test_good_samples_get_the_larger_subtracted_margin():
    margin = partialfc.AdaFace()
    norm = torch.tensor([1.0, 20.0, 99.0], dtype=torch.float64)
    margin.std = torch.tensor(10.0, dtype=torch.float64)
    right_angle = partialfc.Samples(torch.zeros_like(norm), norm)
    quality = margin.quality(right_angle)
    assert quality[0] < quality[1] < quality[2]
    easy = replace(right_angle, cos=torch.full_like(norm, 0.95))
    assert (margin.target(easy).diff() < 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("make", [partialfc.MagFace, partialfc.AdaFace], ids=lambda make: make.__name__)
def test_derivatives_are_finite_everywhere(make, dtype):
    check_finite(make(), dtype)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: partialfc.MagFace(scale=0.0), r"scale is 0\.0; .* above 0"),
        (lambda: partialfc.MagFace(l_a=0.0), r"l_a is 0\.0; it must be a finite number above 0"),
        (lambda: partialfc.MagFace(u_a=10.0), r"u_a is 10\.0; .* above 10"),
        (lambda: partialfc.MagFace(l_m=-0.1), r"l_m is -0\.1; .* at least 0 and below 3\.14159"),
        (lambda: partialfc.MagFace(u_m=0.4), r"u_m is 0\.4; .* at least 0\.45"),
        (lambda: partialfc.MagFace(u_m=3.2), r"u_m is 3\.2"),
        (lambda: partialfc.MagFace(lambda_g=-1), "lambda_g is -1; .* at least 0"),
        (lambda: partialfc.AdaFace(margin=1.0), r"margin is 1\.0; .* at least 0 and below 1"),
        (lambda: partialfc.AdaFace(h=0), "h is 0; .* above 0"),
        (lambda: partialfc.AdaFace(momentum=0.0), r"momentum is 0\.0; .* above 0 and at most 1"),
        (lambda: partialfc.AdaFace(momentum=1.5), r"momentum is 1\.5"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_all_settings_are_shown():
    assert repr(partialfc.MagFace()) == (
        "MagFace(scale=64.0, l_a=10.0, u_a=110.0, l_m=0.45, u_m=0.8, lambda_g=20.0)"
    )
    assert repr(partialfc.AdaFace()) == "AdaFace(scale=64.0, margin=0.4, h=0.333, momentum=0.01)"
