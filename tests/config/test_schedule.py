"""The section schedule: rules between its keys, and the shapes that training knows."""

import re
from typing import get_args

import pytest

from partialfc.config import ScheduleConfig
from partialfc.training.schedule import Schedule, Shape
from tests.config.cases import failure, small


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "schedule={warmup_steps: 1, warmup_epochs: 1}",
            "schedule: give at most one of warmup_steps, warmup_epochs, warmup_ratio, got warmup_steps 1 and "
            "warmup_epochs 1.0",
        ),
        (
            "schedule={warmup_ratio: 0.1, warmup_epochs: 1}",
            "schedule: give at most one of .*, got warmup_epochs 1.0 and warmup_ratio 0.1",
        ),
        ("schedule={warmup_ratio: 1}", r"schedule\.warmup_ratio: must be less than 1, got 1"),
        ("schedule={warmup_ratio: -0.1}", r"schedule\.warmup_ratio: must be .* 0, got -0.1"),
        ("schedule={name: cosine, power: 3}", "schedule: power is 3.0, but only name: polynomial uses it"),
        (
            "schedule={name: constant, final_lr_ratio: 0.1}",
            "schedule: final_lr_ratio is 0.1, but name: constant",
        ),
        (
            "schedule={name: step, milestone_steps: [3], final_lr_ratio: 0.1}",
            "schedule: final_lr_ratio is 0.1, but name: step",
        ),
        ("schedule={name: step}", "schedule: name: step needs either .* or milestone_epochs, got neither"),
        (
            "schedule={name: step, milestone_steps: [3], milestone_epochs: [1]}",
            "schedule: name: step needs .*, got milestone_steps and milestone_epochs",
        ),
        ("schedule={milestone_epochs: [1]}", "schedule: milestone_epochs is given, but only name: step"),
        ("schedule={gamma: 0.5}", "schedule: gamma is 0.5, but only name: step uses it"),
        (
            "schedule={name: step, milestone_steps: [3, 3]}",
            r"schedule\.milestone_steps: each must be larger than the one before, got \[3, 3\]$",
        ),
        (
            "schedule={name: step, milestone_steps: 3}",
            r"schedule\.milestone_steps: must be a list such as \[10, 18\], got 3$",
        ),
        ("schedule={name: step, milestone_steps: [0]}", r"schedule\.milestone_steps.*: must be .*1"),
        ("schedule={name: step, milestone_steps: [1.5]}", r"schedule\.milestone_steps.*: must be"),
        ("schedule={name: step, milestone_epochs: [x]}", r"schedule\.milestone_epochs.*: must be"),
    ],
)
def test_rules_between_keys(override: str, message: str) -> None:
    assert re.search(message, failure(override))


def test_milestones_may_be_whole_or_broken_epochs() -> None:
    schedule = small("schedule={name: step, milestone_epochs: [1, 2.5], gamma: 0.2}").schedule
    assert schedule.milestone_epochs == (1, 2.5)


def test_the_config_has_the_shapes_that_training_has() -> None:
    """The two lists are written down separately, because the config imports nothing of training."""
    admitted = get_args(ScheduleConfig.model_fields["name"].annotation)
    assert [Schedule(peak=1.0, total_steps=10, name=name).name for name in admitted] == list(admitted)
    assert set(admitted) == set(get_args(Shape))
