"""How a message shows a value."""

import reprlib
from pathlib import Path


def shown(value: object) -> str:
    """null, true and false as YAML writes them, the rest as Python does; cut where it is long."""
    for python, written in ((None, "null"), (True, "true"), (False, "false")):
        if value is python:
            return written
    cut = reprlib.Repr()
    cut.maxstring = cut.maxother = 80
    return cut.repr(str(value) if isinstance(value, Path) else value)
