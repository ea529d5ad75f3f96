"""The section schedule: rules between its keys, and the shapes that training knows."""

import re
from typing import get_args

import pytest

from partialfc.config import ScheduleConfig
from partialfc.training.schedule import Schedule, Shape
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


def test_the_config_has_the_shapes_that_training_has() -> None:
    """The two lists are written down separately, because the config imports nothing of training."""
    admitted = get_args(ScheduleConfig.model_fields["name"].annotation)
    assert [Schedule(peak=1.0, total_steps=10, name=name).name for name in admitted] == list(admitted)
    assert set(admitted) == set(get_args(Shape))
