"""What a user has set already, so that the rules for other keys go by it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partialfc.config.overrides import Override


@dataclass(frozen=True, slots=True)
class Given:
    """Values by key, of overrides; a later one counts. A wrong type is told when the config is checked."""

    values: dict[str, Any]

    @classmethod
    def by(cls, overrides: Sequence[str]) -> "Given":
        """Raises ConfigError where an override is not of the form section.key=value."""
        values: dict[str, Any] = {}
        for override in map(Override.parse, overrides):
            values |= dict(_leaves(".".join(override.path), override.value))
        return cls(values)

    def whole(self, key: str, *, least: int = 1) -> int | None:
        value = self.values.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= least else None

    def number(self, key: str) -> float | None:
        value = self.values.get(key)
        return value if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def path(self, key: str) -> Path | None:
        value = self.text(key)
        return Path(value) if value else None


def _leaves(key: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for name, each in value.items() for leaf in _leaves(f"{key}.{name}", each)]
    return [(key, value)]
