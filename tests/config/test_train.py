"""The section train: rules between its keys, and the samples of a step."""

import re
from typing import get_args

import pytest

from partialfc.config.train import TrackerName
from partialfc.metrics.trackers import TRACKERS
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


@pytest.mark.parametrize(
    ("overrides", "trackers"),
    [
        ((), ()),
        (("train.trackers=[mlflow, wandb]",), ("mlflow", "wandb")),
        (("train.tensorboard=true",), ("tensorboard",)),  # the key before there were others
        (("train.tensorboard=false",), ()),
        (("train.tensorboard=true", "train.trackers=[mlflow]"), ("mlflow", "tensorboard")),
        (("train.tensorboard=true", "train.trackers=[tensorboard]"), ("tensorboard",)),
    ],
    ids=["none", "two", "old key", "old key off", "both", "both name it"],
)
def test_trackers_are_named_in_a_list(overrides: tuple[str, ...], trackers: tuple[str, ...]) -> None:
    section = small(*overrides).train
    assert section.trackers == trackers
    assert "tensorboard" not in type(section).model_fields


def test_the_trackers_are_those_that_there_are() -> None:
    assert get_args(TrackerName) == tuple(TRACKERS)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.trackers=[comet]", "train.trackers.0: must be 'tensorboard', .*got 'comet'"),
        ("train.trackers=wandb", "train.trackers: must be a list, got 'wandb'"),
        ("train.trackers=[wandb, wandb]", "train.trackers: must name each tracker once"),
        ("train.tensorboard=yes", "train.tensorboard"),
        ("train.tracker_project=''", "train.tracker_project"),
        ("train.tracker_project=../x", "train.tracker_project: must be printable, .* without / .*got '../x'"),
        (
            "train.tracker_project=' x'",
            "train.tracker_project: must be printable, without blanks at its ends",
        ),
    ],
    ids=["unknown", "no list", "twice", "old key", "no project", "a path", "a blank"],
)
def test_what_is_no_list_of_trackers_is_refused(override: str, message: str) -> None:
    assert re.search(message, failure(override))
