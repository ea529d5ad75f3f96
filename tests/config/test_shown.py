"""Values in messages."""

import pytest

from partialfc.config.shown import shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "null"), (True, "true"), (False, "false"), (1, "1"), (1.0, "1.0"), ("1", "'1'"), ([1], "[1]")],
)
def test_a_value_is_shown_as_it_was_written(value: object, expected: str) -> None:
    assert shown(value) == expected


def test_a_long_value_is_cut() -> None:
    assert len(shown("x" * 5000)) == 80
