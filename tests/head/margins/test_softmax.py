"""Softmax and ModifiedSoftmax: inner products, and whether there is a bias."""

import math

import pytest
import torch

import partialfc
from tests.head.margins.examples import check_derivatives, check_finite, samples


def test_softmax_is_the_inner_product_and_modified_softmax_leaves_the_centres_norm_out():
    given = samples()
    plain = samples(centre_norm=None)
    for i in range(len(given.cos)):
        cos, norm, centre_norm = (t[i].item() for t in (given.cos, given.norm, given.centre_norm))
        assert partialfc.Softmax().target(given)[i].item() == pytest.approx(cos * norm * centre_norm)
        assert partialfc.ModifiedSoftmax().target(plain)[i].item() == pytest.approx(cos * norm)


def test_derivatives_are_those_of_the_values():
    check_derivatives(partialfc.Softmax(), "cos", "norm", "centre_norm")
    check_derivatives(partialfc.ModifiedSoftmax(), "cos", "norm", centre_norm=None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_numbers_are_finite_everywhere(dtype):
    check_finite(partialfc.Softmax(), dtype)
    check_finite(partialfc.ModifiedSoftmax(), dtype)


def test_what_the_head_is_told():
    for margin, centres in ((partialfc.Softmax(), False), (partialfc.ModifiedSoftmax(), True)):
        assert margin.normalises_centres == centres
        assert not margin.normalises_embeddings
        assert margin.logit_bound == math.inf
        assert not margin.bias
    assert partialfc.Softmax(bias=True).bias
    assert repr(partialfc.Softmax(bias=True)) == "Softmax(bias=True)"
    with pytest.raises(ValueError, match="bias is 'yes'; it must be one of False, True"):
        partialfc.Softmax(bias="yes")
