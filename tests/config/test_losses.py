"""The list `losses`: its elements, its messages, and overrides within it."""

import re

import pytest
import yaml

from partialfc.config import CenterLossConfig, TripletLossConfig, dump_config, parse_config
from tests.config.cases import failure, small

TWO = "losses=[{name: triplet, weight: 1, mining: all}, {name: center, weight: 3e-3, alpha: 0.3}]"


def test_each_loss_has_its_own_keys() -> None:
    assert small().losses == ()
    assert small(TWO).losses == (
        TripletLossConfig(name="triplet", weight=1.0, mining="all"),
        CenterLossConfig(name="center", weight=0.003, alpha=0.3),
    )


def test_what_is_saved_is_read_again() -> None:
    for given in (TWO, "losses=[{name: center, weight: 0, centres: head}]", "losses=[]"):
        config = small(given)
        assert parse_config(yaml.safe_load(dump_config(config)), [], "saved") == config


def test_an_override_reaches_an_element_by_its_place_or_its_name() -> None:
    config = small(TWO, "losses.1.weight=0.5", "losses.triplet.mining=hard")
    assert [loss.weight for loss in config.losses] == [1.0, 0.5]
    assert config.losses[0].mining == "hard"
    assert "override 'losses.2.weight=1': losses has no element 2, it is [{" in failure(
        TWO, "losses.2.weight=1"
    )
    assert "losses has no element weight" in failure(TWO, "losses.weight=1")
    assert ", 'losses.center.alpha=3': losses.1.alpha: must be" in failure(TWO, "losses.center.alpha=3")
    assert failure(TWO, "losses.0.mining=softer").startswith(
        "override 'losses.0.mining=softer': losses.0.mining: must be 'all', 'hard' or 'semihard'"
    )


def test_an_override_leaves_the_list_that_it_was_given_alone() -> None:
    mapping = yaml.safe_load(dump_config(small(TWO)))
    before = yaml.safe_dump(mapping)
    parse_config(mapping, ["losses.0.weight=9"], "the test")
    assert yaml.safe_dump(mapping) == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{name: triplet, weight: 1}", r"losses: must be a list such as \[\{name: triplet, weight: 1.0\}\]"),
        ("[{weight: 1}]", "losses.0.name: is required: one of center, contrastive, angular_"),
        ("[3]", "losses.0: must be a section of keys and values, such as {name: center}, got 3"),
        ("[{name: tripplet, weight: 1}]", "losses.0.name: must be one of center, .*, got 'tripplet'"),
        ("[{name: triplet}]", "losses.0.weight: is required: What its value is multiplied by"),
        ("[{name: triplet, weight: -1}]", "losses.0.weight: must be greater than or equal to 0, got -1"),
        (
            "[{name: triplet, weight: 1, minning: all}]",
            r"losses.0.minning: unknown key; did you mean losses.0.mining\?",
        ),
        (
            "[{name: triplet, weight: 1, alpha: 0.1}]",
            "losses.0.alpha: name: triplet has no such key; it belongs to name: center",
        ),
        (
            "[{name: center, weight: 1, centres: head, alpha: 0.2}]",
            "losses.0: alpha is 0.2, but only centres: own move by it; leave it out",
        ),
        (
            "[{name: center, weight: 1}, {name: center, weight: 2}]",
            "losses: each loss may be there once, and center is there 2 times, got",
        ),
    ],
    ids=[
        "no_list", "no_name", "no_section", "another_name", "no_weight", "negative", "misspelt",
        "of_another", "alpha_of_head", "twice",
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(given: str, message: str) -> None:
    assert re.search(message, failure(f"losses={given}"))


def test_no_contrastive_margin_is_beyond_the_largest_distance():
    assert small("losses=[{name: contrastive, weight: 1, margin: 2}]")
    assert small("losses=[{name: contrastive, weight: 1, margin: 3, normalise: false}]")
    assert "margin is 3, but between embeddings of norm 1 no distance is above 2: lower" in failure(
        "losses=[{name: contrastive, weight: 1, margin: 3}]"
    )
