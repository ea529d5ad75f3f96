"""The text: what load_config reads is what was meant, whatever values and comments."""

import pytest

from partialfc.config.yaml12 import dump_line, load
from partialfc.suggest.commented import commented

VALUES = [
    1,
    0.1,
    1e-5,
    True,
    None,
    "no",
    "",
    "a: b # c",
    "two\nlines",
    "é\u2028",
    [],
    {},
    [1, {"a": None}],
    "x" * 300,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_on_one_line_is_read_again(value):
    line = dump_line(value)
    assert "\n" not in line
    assert load(f"key: {line}", "test") == {"key": value}


def test_sections_keys_and_reasons():
    text = commented(
        {"data": {"train": "my images", "augment": {"flip": True}}, "losses": [], "metrics": {"port": None}},
        {"data.train": "Where they are.", "data.augment": "Long. " * 40},
        heading="One.\nTwo.",
    )
    assert text.startswith("# One.\n# Two.\n\ndata:\n  # Where they are.\n  train: my images\n")
    assert load(text, "test") == {
        "data": {"train": "my images", "augment": {"flip": True}},
        "losses": [],
        "metrics": {"port": None},
    }
    assert max(map(len, text.splitlines())) <= 110
