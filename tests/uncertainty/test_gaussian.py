"""Gaussians as embeddings: scores and fusion against loops, and integrals that they stand for."""

import math

import numpy as np
import pytest
import torch

from partialfc.uncertainty import confidence, fuse, likelihood_scores, mutual_likelihood, split
from partialfc.uncertainty import gaussian as arithmetic
from partialfc.uncertainty.gaussian import likelihood_tile
from tests.uncertainty import reference

D = 4


def gaussians(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2 * D, dtype=torch.float64, generator=generator)


def parts(row: torch.Tensor) -> tuple[list[float], list[float]]:
    return row[:D].tolist(), row[D:].exp().tolist()


def test_scores_are_those_of_the_loop():
    first, second = gaussians(5), gaussians(3, seed=1)
    scores = mutual_likelihood(first[:, None], second)
    assert scores.shape == (5, 3)
    for i in range(5):
        for j in range(3):
            expected = reference.mutual_likelihood(*parts(first[i]), *parts(second[j])).item()
            assert scores[i, j].item() == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(scores.T, mutual_likelihood(second[:, None], first), atol=1e-12, rtol=0)


def test_a_score_is_the_logarithm_of_the_overlap():
    """Equation 4: the integral over z of both densities at z; here by sums, in one dimension."""
    z = np.linspace(-60, 60, 200_001)
    (a, b) = torch.tensor([[0.3, 0.5], [-1.1, 2.0]], dtype=torch.float64)
    density = [
        np.exp(-((z - m) ** 2) / (2 * np.exp(v))) / np.sqrt(2 * np.pi * np.exp(v))
        for m, v in (a.tolist(), b.tolist())
    ]
    overlap = np.trapezoid(density[0] * density[1], z)
    assert mutual_likelihood(a, b).item() == pytest.approx(math.log(overlap), abs=1e-9)


def test_equal_variances_rank_pairs_as_distances_do():
    """The paper's property 1."""
    rows = gaussians(40)
    rows[:, D:] = -2.0
    scores = mutual_likelihood(rows[::2], rows[1::2])
    distances = (rows[::2, :D] - rows[1::2, :D]).norm(dim=1)
    assert scores.argsort().tolist() == (-distances).argsort().tolist()


def test_extreme_variances_give_finite_scores_and_gradients():
    rows = torch.tensor([[0.6, 0.8, -60.0, 60.0], [0.8, -0.6, -60.0, -60.0]], requires_grad=True)
    score = mutual_likelihood(rows[0], rows[1])
    score.backward()
    assert score.isfinite()
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize("log_variance", [-100.0, -1000.0, -1e6, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_equal_means_have_a_finite_score_at_every_variance(dtype, log_variance):
    row = torch.tensor([0.6, 0.8, log_variance, log_variance], dtype=dtype, requires_grad=True)
    score = mutual_likelihood(row, row.detach())
    score.backward()
    assert score.item() == pytest.approx(-log_variance - math.log(2) - math.log(2 * math.pi), rel=1e-6)
    assert row.grad.isfinite().all()
    assert np.isfinite(likelihood_scores(row.detach().expand(2, 4).numpy())).all()


def test_small_variances_count_up_to_the_largest_number_and_then_give_minus_infinity():
    near = torch.tensor([[1e-18, -100.0], [0.0, -100.0]])
    exact = mutual_likelihood(*near.double()).item()
    assert mutual_likelihood(*near).item() == pytest.approx(exact, rel=1e-5)
    assert mutual_likelihood(*torch.tensor([[1.0, -100.0], [0.0, -100.0]])).item() == -math.inf
    assert mutual_likelihood(*torch.tensor([[3e38, 1e3], [-3e38, 1e3]])).item() == -math.inf


def test_fusion_is_one_observation_after_the_other():
    rows = gaussians(6)
    mean, variance = reference.fused_step_by_step(*zip(*map(parts, rows), strict=True))
    found_mean, found_log_variance = split(fuse(rows))
    assert found_mean.tolist() == pytest.approx(mean, abs=1e-12)
    assert found_log_variance.exp().tolist() == pytest.approx(variance, abs=1e-12)
    smallest = split(fuse(rows, variance="smallest"))
    assert smallest[0].tolist() == pytest.approx(mean, abs=1e-12)
    assert smallest[1].tolist() == rows[:, D:].min(0).values.tolist()


@pytest.mark.parametrize("at_once", [1, 50, 1 << 18])
def test_each_with_each_in_parts(monkeypatch, at_once):
    monkeypatch.setattr(arithmetic, "AT_ONCE", at_once)
    first, second = gaussians(5), gaussians(3, seed=1)
    found = likelihood_tile(first, second)
    assert found.tolist() == [[mutual_likelihood(a, b).item() for b in second] for a in first]


def test_fusion_trusts_the_surer_image_and_gains_from_both():
    rows = torch.tensor([[1.0, -8.0], [-1.0, 2.0]], dtype=torch.float64)
    mean, log_variance = fuse(rows)
    assert mean > 0.99
    assert log_variance < -8.0
    assert torch.equal(fuse(rows[:1]), rows[0])


def test_confidence_is_one_over_the_harmonic_mean_of_sigma():
    rows = gaussians(7)
    sigmas = rows[:, D:].exp().sqrt()
    expected = [1 / (D / sum(1 / each for each in row)) for row in sigmas.tolist()]
    assert confidence(rows).tolist() == pytest.approx(expected, rel=1e-12)
    assert confidence(torch.tensor([0.0, -1000.0])).item() == math.inf  # above float32's range


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: split(torch.zeros(2, 5)), r"gaussians.shape is \(2, 5\); its last number must be even"),
        (lambda: fuse(torch.zeros(0, 4)), r"gaussians.shape is \(0, 4\); it must be \[n, 2D\], n at least 1"),
        (lambda: fuse(torch.zeros(4)), r"gaussians.shape is \(4,\); it must be \[n, 2D\]"),
        (lambda: fuse(torch.zeros(1, 4), variance="mean"), "variance is 'mean'; it must be 'posterior' or"),
    ],
    ids=["odd", "no_image", "one_row", "variance"],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
