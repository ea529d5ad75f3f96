"""How often checkpoints and verifications come."""

import re

import pytest
from pydantic import BaseModel

from partialfc.config import CheckpointConfig, VerificationConfig
from tests.config.cases import failure


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "checkpoint={every_steps: 1, every_epochs: 1}",
            "checkpoint: give at most one of every_steps and every_epochs",
        ),
        ("verification={every_steps: 1, every_epochs: 1}", "verification: give at most one of every_steps"),
    ],
)
def test_a_period_is_in_steps_or_in_epochs(override: str, message: str) -> None:
    assert re.search(message, failure(override))


@pytest.mark.parametrize("section", [CheckpointConfig, VerificationConfig])
@pytest.mark.parametrize("key", ["every_steps", "every_epochs"])
def test_the_period_without_either_key_is_documented(section: type[BaseModel], key: str) -> None:
    assert "neither every_steps nor every_epochs: after each epoch" in section.model_fields[key].description
