"""The section train: rules between its keys, and the samples of a step."""

import re

import pytest

from tests.config.cases import failure, small


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train={batch_size: 1}",
            "train: give exactly one of epochs and steps, got neither",
        ),
        (
            "train={batch_size: 8, epochs: 3, steps: 9}",
            "train: give exactly one of epochs and steps, .*got epochs 3.0 and steps 9",
        ),
    ],
)
def test_rules_between_keys(override: str, message: str) -> None:
    assert re.search(message, failure(override))


def test_a_step_has_the_samples_of_all_its_micro_batches() -> None:
    assert small("train.accumulation=4").train.samples_per_step == 512
