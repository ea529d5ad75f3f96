"""MVSoftmax and CurricularFace: values of the papers, derivatives, t, and what a base may be."""

import pytest
import torch

import partialfc
from tests.head import reference_margins as reference
from tests.head.margins.examples import (
    N,
    check_derivatives,
    check_finite,
    check_negatives,
    negatives_of,
    samples,
)

BASES = {
    "arcface": (lambda: partialfc.ArcFace(scale=32.0, margin=0.4), lambda cos: reference.arc(cos, 0.4)),
    "cosface": (lambda: partialfc.CosFace(scale=32.0, margin=0.3), lambda cos: cos - 0.3),
    "none": (lambda: partialfc.NormalizedSoftmax(scale=32.0), lambda cos: cos),
}


def others(seed: int = 5) -> torch.Tensor:
    """[7, N] cosines to other classes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(7, N, generator=generator, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("adaptive", [False, True], ids=["fixed", "adaptive"])
@pytest.mark.parametrize("base", BASES)
def test_mv_softmax_is_the_paper_sample_by_sample(base, adaptive):
    make, function = BASES[base]
    margin = partialfc.MVSoftmax(make(), t=0.3, adaptive=adaptive)
    given, cos = samples(), others()
    target, negatives = margin.target(given), negatives_of(margin, cos, given)
    hard = 0
    for i in range(N):
        own = function(given.cos[i].item())
        assert target[i].item() == pytest.approx(32.0 * own, abs=1e-10)
        for k in range(len(cos)):
            expected = reference.mv_negative(cos[k, i].item(), own, 0.3, adaptive)
            assert negatives[k, i].item() == pytest.approx(32.0 * expected, abs=1e-10)
            hard += cos[k, i].item() > own
    assert 0 < hard < cos.numel()
    assert negatives.max() <= margin.logit_bound


def test_mv_softmax_takes_all_of_its_target_from_the_base():
    base = partialfc.ArcFace(scale=20.0, margin_gradient="straight_through")
    margin = partialfc.MVSoftmax(base)
    assert (margin.scale, margin.compiles, margin.takes_class_margins) == (20.0, True, True)
    assert not partialfc.MVSoftmax(partialfc.NormalizedSoftmax()).takes_class_margins
    given = samples(cos=samples().cos.requires_grad_(), class_margin=torch.linspace(0, 1, N))
    torch.testing.assert_close(margin.target(given), base.target(given), atol=0, rtol=0)
    margin.target(given).sum().backward()
    torch.testing.assert_close(given.cos.grad, torch.full_like(given.cos, 20.0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: partialfc.MVSoftmax(partialfc.CosFace(scale=4.0), t=0.3),
        lambda: partialfc.MVSoftmax(partialfc.ArcFace(scale=4.0), t=0.3, adaptive=True),
        lambda: partialfc.CurricularFace(scale=4.0),
    ],
    ids=["mv_softmax", "mv_softmax adaptive", "curricularface"],
)
def test_derivatives_are_those_of_the_values(make):
    margin = make()
    margin.update(samples(3))
    check_derivatives(margin, "cos")
    check_negatives(margin)


def test_curricularface_is_the_paper_sample_by_sample_and_batch_by_batch():
    margin = partialfc.CurricularFace(scale=32.0, margin=0.4, momentum=0.3)
    t = 0.0
    for seed in range(4):
        given, cos = samples(seed), others(seed)
        margin.update(given)
        t = reference.curricular_t(t, given.cos.tolist(), 0.3)
        assert margin.t.item() == pytest.approx(t, abs=1e-15)
        target, negatives = margin.target(given), negatives_of(margin, cos, given)
        for i in range(N):
            own = reference.arc(given.cos[i].item(), 0.4)
            assert target[i].item() == pytest.approx(32.0 * own, abs=1e-10)
            for k in range(len(cos)):
                expected = reference.curricular_negative(cos[k, i].item(), own, t)
                assert negatives[k, i].item() == pytest.approx(32.0 * expected, abs=1e-10)


def test_t_starts_at_0_and_moves_by_a_hundredth_of_a_batch_before_it_is_used():
    margin = partialfc.CurricularFace()
    assert margin.t.item() == 0.0
    cos = torch.tensor([0.5, 0.7], dtype=torch.float64)
    margin.update(partialfc.Samples(cos, cos))
    assert margin.t.item() == pytest.approx(0.006)
    margin.update(partialfc.Samples(cos[:0], cos[:0]))
    assert margin.t.item() == pytest.approx(0.006)


@pytest.mark.parametrize("t", [-1.0, 0.0, 1.0])
def test_no_negative_exceeds_the_bound_at_any_t(t):
    margin = partialfc.CurricularFace(scale=10.0)
    margin.t = torch.tensor(t, dtype=torch.float64)
    cos = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
    given = partialfc.Samples(torch.full((1,), -1.0, dtype=torch.float64), torch.ones(1))
    assert negatives_of(margin, cos, given).max() <= margin.logit_bound == 20.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_numbers_are_finite_and_of_the_samples_dtype(dtype):
    for margin in (partialfc.CurricularFace(), partialfc.MVSoftmax(partialfc.ArcFace())):
        check_finite(margin, dtype)
        given = partialfc.Samples(torch.tensor([-1.0, 0.5, 1.0], dtype=dtype), torch.ones(3, dtype=dtype))
        margin.update(given)
        cos = torch.tensor([[-1.0], [1.0]], dtype=dtype).expand(2, 3).clone().requires_grad_()
        negatives = negatives_of(margin, cos, given)
        assert negatives.dtype == dtype
        negatives.sum().backward()
        assert torch.isfinite(cos.grad).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: partialfc.MVSoftmax("arcface"), "base is 'arcface'; it must be an ArcFace, CosFace"),
        (lambda: partialfc.MVSoftmax(partialfc.ArcFace), "base is <class .*; it must be an ArcFace"),
        (lambda: partialfc.MVSoftmax(partialfc.CurricularFace()), r"base is CurricularFace\(.*it must be an"),
        (lambda: partialfc.MVSoftmax(partialfc.AdaFace()), r"base is AdaFace\("),
        (lambda: partialfc.MVSoftmax(partialfc.ArcFace(), t=-0.1), r"t is -0\.1; .* at least 0"),
        (lambda: partialfc.MVSoftmax(partialfc.ArcFace(), adaptive=1), "adaptive is 1; .* False, True"),
        (lambda: partialfc.CurricularFace(scale=-1), "scale is -1"),
        (lambda: partialfc.CurricularFace(margin=4), r"margin is 4; .* below 3\.14159"),
        (lambda: partialfc.CurricularFace(momentum=0), "momentum is 0; .* above 0 and at most 1"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_all_settings_are_shown():
    shown = repr(partialfc.MVSoftmax(partialfc.CosFace(margin=0.3), t=0.25, adaptive=True))
    assert "t=0.25, adaptive=True" in shown
    assert "m3=0.3, scale=64.0" in shown
    assert repr(partialfc.CurricularFace()) == "CurricularFace(scale=64.0, margin=0.5, momentum=0.01)"
