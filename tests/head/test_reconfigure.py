"""What a head does may change between steps, and what it cannot become is refused without a change."""

import pytest
import torch

import partialfc


def head_of(margin: partialfc.Margin, **options: object) -> partialfc.PartialFC:
    head = partialfc.PartialFC(8, 40, margin=margin, **options)
    partialfc.RowSGD(head, lr=0.1)
    return head


def loss_of(head: partialfc.PartialFC) -> float:
    embeddings = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    return head(embeddings, torch.arange(6)).item()


def test_a_head_takes_another_margin_sample_rate_and_filter():
    head = head_of(partialfc.ArcFace(margin=0.1))
    head.reconfigure(margin=partialfc.ArcFace(margin=0.4), sample_rate=0.5, interclass_filter=0.3)
    other = head_of(partialfc.ArcFace(margin=0.4), sample_rate=0.5, interclass_filter=0.3)
    assert loss_of(head) == loss_of(other)
    assert len(head.last_sample) == 20
    head.reconfigure(interclass_filter=None)
    assert (head.interclass_filter, head.sample_rate) == (None, 0.5)


def test_a_margin_goes_on_from_the_state_of_the_one_before():
    head = head_of(partialfc.SubCenter(k=2, base=partialfc.CurricularFace(margin=0.1)))
    loss_of(head)
    state = {name: value.clone() for name, value in head.margin.state_dict().items()}
    assert any(value.any() for value in state.values())
    head.reconfigure(margin=partialfc.SubCenter(k=2, base=partialfc.CurricularFace(margin=0.4)))
    torch.testing.assert_close(dict(head.margin.state_dict()), state, rtol=0, atol=0)
    loss_of(head)
    assert head.margin.base.m2 == 0.4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": partialfc.CosFace()}, "cannot follow .* another of the same class"),
        ({"margin": partialfc.SubCenter(k=2, base=partialfc.ArcFace())}, "sub_centers differ"),
        ({"margin": 0.5}, "must be a partialfc Margin"),
        ({"margin": partialfc.ArcFace(margin=0.2), "sample_rate": 2.0}, "sample_rate is 2.0; it must be"),
        ({"interclass_filter": 1.5}, "interclass_filter is 1.5; it must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_what_does_not_fit_is_refused_and_nothing_changes(changes, message):
    head = head_of(partialfc.ArcFace())
    before = repr(head.margin), head.sample_rate, head.interclass_filter
    with pytest.raises(ValueError, match=message):
        head.reconfigure(**changes)
    assert (repr(head.margin), head.sample_rate, head.interclass_filter) == before


def test_a_filter_is_a_cosine_so_norms_must_not_count():
    with pytest.raises(ValueError, match=r"interclass_filter is 0\.5, a cosine, but margin Softmax"):
        head_of(partialfc.Softmax(), interclass_filter=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"margin": partialfc.Softmax(bias=True), "sparse_grad": True},
            "a bias, whose gradient",
        ),
        (
            {"margin": partialfc.SubCenter(k=2, base=partialfc.ArcFace()), "sparse_grad": True},
            "sub-centres, whose gradient has no sparse form",
        ),
        ({"margin": partialfc.Softmax(), "class_margins": [0.1] * 40}, "class_margins are given, and margin"),
        *(
            (
                {"margin": margin, "class_margins": [0.1] * 40},
                "takes none: they take the place of m2 or m3, so exactly one of these must be above 0",
            )
            for margin in (
                partialfc.CombinedMargin(m2=0.2, m3=0.2),
                partialfc.CombinedMargin(),
                partialfc.MVSoftmax(partialfc.CombinedMargin()),
                partialfc.SubCenter(base=partialfc.CombinedMargin()),
            )
        ),
        (
            {"margin": partialfc.NormalizedSoftmax(), "class_margins": [0.1] * 40},
            r"takes none: leave them out, or take a margin such as ArcFace\(\)",
        ),
        ({"margin": partialfc.ArcFace(), "class_margins": [0.1] * 39}, r"must be \[40\]"),
        ({"margin": partialfc.ArcFace(), "class_margins": [4.0] * 40}, r"class_margins\[0\] is 4.0; .* pi"),
        ({"margin": partialfc.ArcFace(), "logit_correction": 1}, "logit_correction is 1; it must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        head_of(**options)


class Biased(partialfc.ArcFace):
    bias = True


def test_a_bias_needs_centres_and_embeddings_with_their_norms():
    with pytest.raises(ValueError, match="takes part in no angle"):
        head_of(Biased())
