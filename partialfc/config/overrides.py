"""Overrides `section.key=value`, in which the value is YAML."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from partialfc.config import yaml12
from partialfc.config.shown import shown
from partialfc.errors import ConfigError


class Override(NamedTuple):
    text: str
    path: tuple[str, ...]
    value: Any

    @classmethod
    def parse(cls, text: str) -> Self:
        """ConfigError for what is not of the form section.key=value."""
        source = f"override {shown(text)}"
        key, equals, value = text.partition("=")
        path = tuple(part.strip() for part in key.split("."))
        if not equals:
            raise ConfigError(f"{source}: has no '='; write section.key=value")
        if not all(path):
            raise ConfigError(f"{source}: {key!r} is not a key; write section.key=value")
        if not value.strip():
            raise ConfigError(f"{source}: has no value; write {key}=null for none")
        return cls(text, path, yaml12.load(value, source))

    def apply(self, mapping: dict[str, Any], origin: str) -> dict[str, Any]:
        """A copy of the mapping with the value at the path; what is not on the path is shared.

        ConfigError, which calls the mapping `origin`, where the path leads through something else than a
        section.
        """
        copied = dict(mapping)
        node = copied
        for depth, part in enumerate(self.path[:-1], start=1):
            child = node.get(part, {})
            if not isinstance(child, dict):
                where = ".".join(self.path[:depth])
                problem = f"{where} is not a section, it is {shown(child)} in {origin}"
                raise ConfigError(f"override {shown(self.text)}: {problem}")
            node[part] = node = dict(child)
        node[self.path[-1]] = self.value
        return copied


def source(path: tuple[str, ...], overrides: Sequence[Override], origin: str) -> str:
    """Who gave the value at the path: the last override at or above it, else `origin` and those below it."""
    for override in reversed(overrides):
        if path[: len(override.path)] == override.path:
            return f"override {shown(override.text)}"
    below = [shown(override.text) for override in overrides if path and override.path[: len(path)] == path]
    return f"{origin} with override {', '.join(below)}" if below else origin
