"""Overrides `section.key=value`, in which the value is YAML."""

from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple, Self

from partialfc.config.exclusive import others_of
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

    def apply(self, mapping: dict[str, Any], before: Sequence[Self], origin: str) -> dict[str, Any]:
        """A copy of the mapping with the value at the path; what is not on the path is shared with it.

        What may not be given beside it (exclusive.py) goes, unless an override gave that. before: the
        overrides that were applied already. Raises ConfigError where a part of the path is not a section,
        with the one of them that gave it, or else `origin`.
        """
        copied = dict(mapping)
        node: Any = copied
        for depth, part in enumerate(self.path[:-1], start=1):
            child = node.get(part, {}) if isinstance(node, dict) else node[int(part)]
            after = self.path[depth]
            if not (isinstance(child, dict) or _is_index(after, child)):
                path = self.path[:depth]
                what = f"has no element {after}" if isinstance(child, list) else "is not a section"
                given = f"it is {shown(child)} in {origin_of(path, before, origin)}"
                raise ConfigError(f"override {shown(self.text)}: {'.'.join(path)} {what}, {given}")
            node[part if isinstance(node, dict) else int(part)] = node = copy(child)
        node[self.path[-1] if isinstance(node, dict) else int(self.path[-1])] = self.value
        for other in others_of(self.path, self.value):
            if isinstance(node, dict) and not any(_is_around(each.path, other) for each in before):
                node.pop(other[-1], None)
        return copied


def _is_index(part: str, values: object) -> bool:
    """Whether a part of a path is the index of an element of a list, from 0 on."""
    return isinstance(values, list) and part.isdecimal() and int(part) < len(values)


def origin_of(
    path: tuple[str, ...],
    overrides: Sequence[Override],
    origin: str,
    others: Sequence[tuple[str, ...]] = (),
) -> str:
    """Where the value at the path was given, for messages, and those of `others` that were overridden.

    An override of the path or of a section around it stands for itself, else `origin` comes first; then the
    overrides of keys below the path, and those of the others.
    """
    own = _givers(path, overrides)
    named = [*own, *(override for other in others for override in _givers(other, overrides))]
    texts = dict.fromkeys(shown(override.text) for override in overrides if override in named)
    told = f"override{'s' if len(texts) > 1 else ''} {', '.join(texts)}"
    if any(_is_around(override.path, path) for override in own):
        return told
    return f"{origin} with {told}" if texts else origin


def _givers(path: tuple[str, ...], overrides: Sequence[Override]) -> list[Override]:
    """The overrides by which the value at the path came about: none that a later one replaced."""
    found: list[Override] = []
    for override in overrides:
        if _is_around(override.path, path):
            found = [override]
        elif _is_around(path, override.path):
            found = [*(each for each in found if not _is_around(override.path, each.path)), override]
    return found


def _is_around(section: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether the path leads to the section or into it."""
    return path[: len(section)] == section
