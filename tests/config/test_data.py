"""The section data."""

import re

import pytest

from partialfc.cli import arguments
from partialfc.data.images import header
from tests.config.cases import failure, small


@pytest.mark.parametrize("bad", ["2", "true", "1.0", "'1'", "null"])
def test_channels_are_one_or_three(bad: str) -> None:
    assert re.search(r"data\.channels: must be 1 or 3, got", failure(f"data.channels={bad}"))
    assert small("data.channels=1").data.channels == 1


def test_the_bound_on_pixels_is_one_number_wherever_it_is_written() -> None:
    """Only `data` reads images, and a command's help is not worth importing it for."""
    assert small().data.max_pixels == header.MAX_PIXELS == arguments.MAX_PIXELS
    assert "data.max_pixels: " in failure("data.max_pixels=0")
