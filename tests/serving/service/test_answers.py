"""Which form of an answer a client takes."""

import pytest

from partialfc.serving.service.answers import prefers

NPY = "application/x-npy"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (NPY, True),
        ("Application/X-NPY ; q=0.5", True),
        (f"text/html, {NPY}", True),
        (f"{NPY}, application/json", True),
        (f"{NPY};q=0.9, */*;q=0.1", True),
        (f"{NPY};q=0.9, application/json;q=0, */*", True),
        ("", False),
        ("*/*", False),
        ("application/*", False),
        ("application/json", False),
        (f"{NPY};q=0", False),
        (f"{NPY};q=0.000", False),
        (f"application/json, {NPY};q=0", False),
        (f"{NPY};q=0.1, application/json;q=0.2", False),
        (f"{NPY};q=0.1, */*", False),
        (f"{NPY};q=much", False),
        (f"{NPY};q=nan", False),
        (f"x{NPY}", False),
    ],
)
def test_a_form_is_chosen_by_its_weight_and_json_unless_another_is_named(accept: str, expected: bool) -> None:
    assert prefers(accept, NPY) is expected
