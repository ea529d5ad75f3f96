"""The section schedule: rules between its keys."""

import re

import pytest

from tests.config.cases import failure


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "schedule={warmup_steps: 1, warmup_epochs: 1}",
            "schedule: give at most one of warmup_steps and warmup_epochs",
        ),
        ("schedule={name: cosine, power: 3}", "schedule: power is 3.0, but only name: polynomial uses it"),
        (
            "schedule={name: constant, final_lr_ratio: 0.1}",
            "schedule: final_lr_ratio is 0.1, but name: constant",
        ),
    ],
)
def test_rules_between_keys(override: str, message: str) -> None:
    assert re.search(message, failure(override))
