"""The section verification: which set decides."""

import re

import pytest

from tests.config.cases import failure, small


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("verification.best=lfw", "verification: best is 'lfw', but sets has no entry"),
        ("verification={best: lfw, sets: {a: a, b: b}}", "verification: best is 'lfw', but sets has a, b"),
    ],
)
def test_the_best_set_is_one_of_the_sets(override: str, message: str) -> None:
    assert re.search(message, failure(override))


def test_the_first_set_is_the_best_one_unless_told() -> None:
    config = small("verification.sets={a: a.bin, b: b.bin}")
    assert config.verification.best is None
    assert config.verification.best_set == "a"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("true", "sum"), ("false", "none"), ("sum", "sum"), ("concat", "concat"), ("none", "none")],
)
def test_flip_may_be_what_earlier_versions_had(written: str, meant: str) -> None:
    assert small(f"verification.flip={written}").verification.flip == meant


def test_flip_and_amp_are_one_of_their_choices() -> None:
    assert re.search("verification.flip: must be", failure("verification.flip=both"))
    assert re.search("verification.amp: must be", failure("verification.amp=int8"))
    assert small().verification.amp == "train"
    assert small("verification.amp=null").verification.amp is None
