"""What a rule gives: a value, and why."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Choice:
    """A value of a config key and the reason for it, which says when to change it; plain sentences."""

    value: Any
    why: str
