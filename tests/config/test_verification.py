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
