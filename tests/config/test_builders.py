"""What a section's docstring says of who builds or uses it."""

import inspect
import re

import pytest

from partialfc import config
from partialfc.config.section import Section
from tests.paths import PACKAGE

SECTIONS = [
    section
    for section in (getattr(config, name) for name in config.__all__)
    if inspect.isclass(section) and issubclass(section, Section)
]


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_names_the_function_that_takes_it(section):
    """In its own docstring, or in that of the class whose keys it shares, such as that of all margins."""
    docstrings = "\n".join(each.__doc__ or "" for each in section.__mro__)
    named = re.findall(r"(training/[\w/]+\.py), ((?:`\w+`(?: and )?)+)", docstrings)
    assert named
    for path, functions in named:
        text = (PACKAGE / path).read_text()
        for function in re.findall(r"`(\w+)`", functions):
            assert re.search(rf"^(def|class) {function}\b", text, re.MULTILINE), (path, function)
