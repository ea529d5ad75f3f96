"""The section head: several centres to a class, a filter, a correction, margins by class."""

import math
from typing import Any

import pytest
import torch

from partialfc.config.margin import (
    has_bias,
    has_bound,
    keeps_centre_norms,
    largest_class_margin,
    reweights_negatives,
    takes_class_margins,
)
from partialfc.training.builders.head import MARGINS, build_head, build_head_margin
from tests.config.cases import failure, small

BY_CLASS = ["class_margins=margins.npy", "margins_by_size={}"]


@pytest.mark.parametrize(
    "margin",
    [
        *MARGINS,
        "combined, m3: 0.1",
        "combined, m2: 0.0, m3: 0.1",
        "combined, m2: 0.0",
        "mv_softmax, base: {name: cosface}",
        "mv_softmax, base: {name: normalized_softmax}",
        "arcface, margin: 0.0",
        "softmax, bias: true",
    ],
)
def test_the_config_knows_what_a_margin_takes(margin):
    section = small(f"head.margin={{name: {margin}}}").head
    built = build_head_margin(section)
    assert keeps_centre_norms(section.margin) == (not built.normalises_centres)
    assert takes_class_margins(section.margin) == built.takes_class_margins
    assert largest_class_margin(section.margin) == built.largest_class_margin
    assert has_bound(section.margin) == math.isfinite(built.logit_bound)
    assert reweights_negatives(section.margin) == built.reweights_negatives
    assert has_bias(section.margin) == built.bias


def test_a_filter_of_cosines_goes_with_no_norms_of_centres():
    assert (
        small("head.interclass_filter=0.4", "head.margin.name=modified_softmax").head.interclass_filter == 0.4
    )
    for name in ("softmax", "large_margin_softmax"):
        assert failure("head.interclass_filter=0.4", f"head.margin.name={name}").endswith(
            f"head: interclass_filter is 0.4, a cosine, but with margin.name: {name} the centres' norms "
            "count too: leave it out, or take another margin"
        )


@pytest.mark.parametrize("option", BY_CLASS)
def test_margins_by_class_go_with_a_margin_that_takes_them(option):
    assert small(f"head.{option}", "head.margin={name: curricularface}")
    key = option.partition("=")[0]
    assert f"head: {key} gives a margin to each class, but margin.name: normalized_softmax takes" in failure(
        f"head.{option}", "head.margin.name=normalized_softmax"
    )


TAKE = "leave it out, or take arcface, cosface"


@pytest.mark.parametrize(
    ("margin", "message"),
    [
        (
            "combined, m2: 0.2, m3: 0.2",
            "which takes the place of m2 or m3 of margin.name: combined: exactly one of these must be above "
            "0, and both are (m2: 0.2, m3: 0.2)",
        ),
        ("combined, m2: 0.0", "exactly one of these must be above 0, and neither is (m2: 0, m3: 0)"),
        ("mv_softmax, base: {name: combined, m3: 0.1}", "m3 of margin.base.name: combined: exactly one"),
        (
            "mv_softmax, base: {name: normalized_softmax}",
            f"but margin.base.name: normalized_softmax takes none: {TAKE} or combined",
        ),
        (
            "magface",
            f"but margin.name: magface takes none: {TAKE}, curricularface, mv_softmax or combined",
        ),
    ],
)
def test_a_refusal_of_margins_by_class_says_the_rule(margin, message):
    for option in BY_CLASS:
        assert message in failure(f"head.{option}", f"head.margin={{name: {margin}}}")


def test_margins_come_from_one_place():
    text = failure(*(f"head.{option}" for option in BY_CLASS))
    assert "class_margins and margins_by_size both give each class a margin; leave one out" in text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{a: 0.5}", "head.margins_by_size: a and b must both be numbers, or both be left out"),
        (
            "{a: 3.0, b: 0.2}",
            "head.margins_by_size: a + b, the margin of a class with one image, must be below",
        ),
        ("{exponent: 0}", "head.margins_by_size.exponent: must be greater than 0"),
        (
            "{lambda: 0.25}",
            "head.margins_by_size.lambda: unknown key; head.margins_by_size has exponent, a, b",
        ),
        ("margins.npy", "head.margins_by_size: must be a section of keys and values, got 'margins.npy'"),
    ],
)
def test_wrong_margins_by_size_are_refused(value, message):
    assert message in failure(f"head.margins_by_size={value}")


@pytest.mark.parametrize("value", ["1", "-1.5", "high"])
def test_a_filter_is_a_cosine(value):
    assert "head.interclass_filter: must be " in failure(f"head.interclass_filter={value}")


def built(*overrides: str) -> Any:
    section = small(*overrides).head
    return build_head(section, embedding_size=4, num_classes=5, seed=0, device=torch.device("cpu"))


def test_a_head_is_built_with_all_of_them():
    head = built(
        *("head.sub_centers=3", "head.interclass_filter=0.4", "head.logit_correction=true"),
        "head.sample_rate=0.5",
    )
    assert head.weight.shape == (5, 12)
    assert (head.interclass_filter, head.logit_correction) == (0.4, True)
    assert type(head.margin.base).__name__ == "ArcFace"
    plain = built()
    assert plain.weight.shape == (5, 4)
    assert (plain.interclass_filter, plain.logit_correction) == (None, False)


@pytest.mark.parametrize(
    "margin", ["cosface", "combined, m2: 0.0, m3: 0.1", "mv_softmax, base: {name: cosface}"]
)
def test_margins_by_size_are_in_the_margins_own_range(margin):
    assert small("head.margins_by_size={a: 2.0, b: 0.5}", "head.margin={name: arcface}")
    assert small("head.margins_by_size={a: 1.5, b: 0.4}", f"head.margin={{name: {margin}}}")
    says = failure("head.margins_by_size={a: 2.0, b: 0.5}", f"head.margin={{name: {margin}}}")
    assert "gives a class with one image a + b, 2.5; with margin.name: " in says
    assert says.endswith("it must be below 2")
