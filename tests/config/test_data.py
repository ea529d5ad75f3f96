"""The section data: channels."""

import re

import pytest

from tests.config.cases import failure, small


@pytest.mark.parametrize("bad", ["2", "true", "1.0", "'1'", "null"])
def test_channels_are_one_or_three(bad: str) -> None:
    assert re.search(r"data\.channels: must be 1 or 3, got", failure(f"data.channels={bad}"))
    assert small("data.channels=1").data.channels == 1
