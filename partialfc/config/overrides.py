"""Overrides `section.key=value`, in which the value is YAML."""

from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple, Self

from partialfc.config.shown import shown
from partialfc.config.yaml12 import load as load_yaml
from partialfc.errors import ConfigError


class Override(NamedTuple):
    """`head.sample_rate=0.1` as `text`, with its `path` ("head", "sample_rate") and its `value` 0.1.

    In a list, a part of the path is an index from 0 on, as in `losses.0.weight=0.1`, or the name of a section
    in it, as in `losses.triplet.weight=0.1`.
    """

    text: str
    path: tuple[str, ...]
    value: Any

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ConfigError where the text is not of the form section.key=value."""
        origin = f"override {shown(text)}"
        key, equals, value = text.partition("=")
        path = tuple(part.strip() for part in key.split("."))
        if not equals:
            raise ConfigError(f"{origin}: has no '='; write section.key=value")
        if not all(path):
            raise ConfigError(f"{origin}: {key!r} is not a key; write section.key=value")
        if not value.strip():
            raise ConfigError(f"{origin}: has no value; write {key}=VALUE, null where it may have none")
        return cls(text, path, load_yaml(value, origin))

    def resolved(self, mapping: dict[str, Any]) -> Self:
        """The same with indices in place of names, where the path leads into a list of the mapping."""
        path = list[str]()
        node: Any = mapping
        for part in self.path:
            if isinstance(node, list):
                names = [each.get("name") if isinstance(each, dict) else None for each in node]
                path.append(str(names.index(part)) if part in names else part)
                node = node[int(path[-1])] if _is_index(path[-1], node) else None
            else:
                path.append(part)
                node = node.get(part) if isinstance(node, dict) else None
        return self._replace(path=tuple(path))

    def apply(self, mapping: dict[str, Any], origin: str) -> dict[str, Any]:
        """A copy of the mapping with the value at the path; what is not on the path is shared with it.

        Raises ConfigError, which calls the mapping `origin`, where a part of the path is not a section.
        """
        copied = dict(mapping)
        node: Any = copied
        for depth, part in enumerate(self.path[:-1], start=1):
            child = node.get(part, {}) if isinstance(node, dict) else node[int(part)]
            after = self.path[depth]
            if not (isinstance(child, dict) or _is_index(after, child)):
                where = ".".join(self.path[:depth])
                problem = f"{where} is not a section, it is {shown(child)} in {origin}"
                if isinstance(child, list):
                    problem = f"{where} has no element {after}, it is {shown(child)} in {origin}"
                raise ConfigError(f"override {shown(self.text)}: {problem}")
            node[part if isinstance(node, dict) else int(part)] = node = copy(child)
        node[self.path[-1] if isinstance(node, dict) else int(self.path[-1])] = self.value
        return copied


def _is_index(part: str, values: object) -> bool:
    """Whether a part of a path is the index of an element of a list, from 0 on."""
    return isinstance(values, list) and part.isdecimal() and int(part) < len(values)


def origin_of(path: tuple[str, ...], overrides: Sequence[Override], origin: str) -> str:
    """Where the value at the path was given, for messages.

    The last override of the path or of a section around it; without one, `origin`, together with the
    overrides of keys below the path.
    """
    for override in reversed(overrides):
        if path[: len(override.path)] == override.path:
            return f"override {shown(override.text)}"
    below = [shown(override.text) for override in overrides if path and override.path[: len(path)] == path]
    return f"{origin} with override {', '.join(below)}" if below else origin
