"""The estimate of how many labels are wrong, from shares whose truth is known."""

import pytest
import torch

from partialfc.cleaning.mixture import EDGES, fit_mixture


def drawn(wrong: float, *, learned: float = 1.0, count: int = 20_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares, and which labels are wrong. learned above 1: wrong labels that the network began to learn."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(count, generator=generator)
    is_wrong = torch.rand(count, generator=generator) < wrong
    right = (2e-4 / 0.5) * ((1 - uniform).pow(-0.5) - 1)  # a tail of index 0.5
    return torch.where(is_wrong, 1 - (1 - uniform).pow(1 / learned), right.clamp(max=1)), is_wrong


@pytest.mark.parametrize("learned", [1.0, 2.0], ids=["random", "half learned"])
@pytest.mark.parametrize("wrong", [0.02, 0.2, 0.4])
def test_what_is_estimated_is_true(wrong, learned):
    shares, is_wrong = drawn(wrong, learned=learned)
    mixture = fit_mixture(shares)
    assert mixture.wrong == pytest.approx(float(is_wrong.float().mean()), rel=0.1)
    for precision in (0.9, 0.95):
        threshold = mixture.threshold(precision)
        left_out = shares >= threshold
        assert float(is_wrong[left_out].float().mean()) == pytest.approx(
            mixture.precision_beyond(threshold), abs=0.06
        )
        found = float((left_out & is_wrong).sum() / is_wrong.sum())
        assert found == pytest.approx(mixture.recall_beyond(threshold), abs=0.04)
    likely = mixture.probabilities(shares)
    for low, high in ((0.0, 0.2), (0.8, 1.0)):  # of those that are wrong with such a probability, so many are
        part = (likely >= low) & (likely <= high)
        assert float(is_wrong[part].float().mean()) == pytest.approx(float(likely[part].mean()), abs=0.05)


def test_where_all_labels_are_right_hardly_any_is_found():
    shares, _ = drawn(0.0)
    mixture = fit_mixture(shares)
    assert mixture.wrong < 0.001
    threshold = mixture.threshold(0.95)
    assert threshold is None or int((shares >= threshold).sum()) < 20


@pytest.mark.parametrize(
    "shares", [[0.0], [1.0], [0.5, 0.0], [0.0] * 1000, [1.0] * 1000], ids=["one", "far", "two", "near", "all"]
)
def test_few_or_equal_shares_give_finite_figures(shares):
    mixture = fit_mixture(torch.tensor(shares))
    assert 0 <= mixture.wrong <= 1
    assert mixture.probabilities(torch.tensor(shares)).isfinite().all()
    assert mixture.right_mass.isfinite().all()
    assert 0 <= mixture.precision_beyond(0.1) <= 1


def test_masses_cover_all_shares():
    mixture = fit_mixture(drawn(0.2)[0])
    assert len(mixture.right_mass) == len(mixture.wrong_mass) == len(EDGES) - 1
    assert float(mixture.right_mass.sum()) == pytest.approx(1)
    assert float(mixture.wrong_mass.sum()) == pytest.approx(1)
    assert mixture.recall_beyond(0.0) == pytest.approx(1)
    assert mixture.precision_beyond(0.0) == pytest.approx(mixture.wrong)
