"""Margins of one's own that break a rule: one message, where it would train wrong or to infinity."""

import pytest
import torch
from torch import Tensor

import partialfc
from partialfc import Samples
from tests.head.optim.cases import batch


class Own(partialfc.Margin):
    """A margin with methods from functions."""

    def __init__(self, scale: float = 16.0, **methods: object) -> None:
        super().__init__(scale=scale)
        self.methods = methods

    def target(self, samples: Samples) -> Tensor:
        return self.methods.get("target", lambda cos: self.scale * (cos - 0.1))(samples.cos)

    def regulariser(self, samples: Samples) -> Tensor | None:
        return self.methods.get("regulariser", lambda norm: None)(samples.norm)


class Reweighted(Own):
    def negatives(self, cos: Tensor, samples: Samples) -> Tensor:
        return self.methods["negatives"](cos, samples.cos)


def head_of(margin: partialfc.Margin) -> partialfc.PartialFC:
    head = partialfc.PartialFC(8, 60, margin=margin)
    partialfc.RowSGD(head, lr=0.1)
    return head


@pytest.mark.parametrize(
    ("margin", "message"),
    [
        (
            Own(target=lambda cos: 16.0 * cos.mean()),
            r"Own\.target returned \[\] for .* \[12\]; it must",
        ),
        (Own(target=lambda cos: 16.0 * cos[:1]), r"Own\.target returned \[1\] for .* \[12\]"),
        (Own(target=lambda cos: 16.0 * cos[:, None]), r"Own\.target returned \[12, 1\] for"),
        (Own(target=lambda cos: 3.0), r"Own\.target returned a float for"),
        (Own(regulariser=lambda norm: norm.mean()), r"Own\.regulariser returned \[\] for"),
    ],
)
def test_what_would_be_broadcast_is_refused(margin, message):
    head = head_of(margin)
    embeddings, labels = batch(0)
    with pytest.raises(ValueError, match=message):
        head(embeddings.float(), labels)


@pytest.mark.parametrize(
    ("negatives", "message"),
    [
        (lambda cos, target: 16.0 * cos.mean(1), r"Reweighted\.negatives returned \[41\] for .* \[41, 41\]"),
        (
            lambda cos, target: 16.0 * cos * (2.0 + cos),
            r"logit_bound of 16, but negatives\(\) gives 48 for a cosine of 1\.00 .*: define logit_bound",
        ),
        (
            lambda cos, target: 16.0 * cos + 5.0 * (cos > target),
            r"gives 21 for a cosine of 1\.00 where the target's is -1\.00",
        ),
    ],
)
def test_negatives_of_another_shape_or_above_the_bound_are_refused_when_the_head_is_built(negatives, message):
    with pytest.raises(ValueError, match=message):
        head_of(Reweighted(negatives=negatives))


@pytest.mark.parametrize(
    "negatives",
    [
        lambda cos, target: 16.0 * torch.where(cos == cos.amax(0), cos, 0.5 * cos),
        lambda cos, target: 8.0 * (cos - cos.mean(0)),
    ],
    ids=["the hardest alone", "less their mean"],
)
def test_negatives_that_depend_on_other_centres_are_refused(negatives):
    with pytest.raises(ValueError, match=r"among 41 centres, and .* alone, since centres come in chunks"):
        head_of(Reweighted(negatives=negatives))


class Prepared(partialfc.Margin):
    """What negatives need is taken of everything that a margin knows of the samples."""

    takes_class_margins = True

    def target(self, samples: Samples) -> Tensor:
        less = 0.1 + 0.01 * samples.normal() + 0.001 * samples.label
        return self.scale * (samples.cos - (less if samples.class_margin is None else samples.class_margin))

    def prepare(self, samples: Samples) -> Tensor:
        return self.target(samples) / self.scale

    def negatives(self, cos: Tensor, samples: Samples) -> Tensor:
        assert samples.prepared is not None
        return self.scale * torch.where(cos > samples.prepared, cos.clamp(max=0.9), cos)


@pytest.mark.parametrize("options", [{}, {"class_margins": [0.1] * 60}], ids=["", "class margins"])
def test_a_margin_may_prepare_from_labels_draws_and_class_margins(options):
    head = partialfc.PartialFC(8, 60, margin=Prepared(scale=16.0), **options)
    embeddings, labels = batch(0)
    assert head(embeddings.float(), labels).isfinite()
    head.reconfigure(margin=Prepared(scale=8.0))
    assert head(embeddings.float(), labels).isfinite()


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda samples: samples.label, "let prepare"),
        (lambda samples: samples.normal(), "let prepare.. draw"),
    ],
    ids=["label", "draws"],
)
def test_negatives_that_ask_for_what_they_cannot_see_are_told_where_it_is(use, message):
    class Asking(Prepared):
        def negatives(self, cos: Tensor, samples: Samples) -> Tensor:
            return self.scale * cos + 0.0 * use(samples)

    with pytest.raises(ValueError, match=message):
        head_of(Asking(scale=16.0))


def test_negatives_at_their_bound_are_taken():
    head = head_of(Reweighted(negatives=lambda cos, target: 16.0 * cos))
    embeddings, labels = batch(0)
    plain = head_of(Own())
    assert head(embeddings.float(), labels).item() == pytest.approx(plain(embeddings.float(), labels).item())
