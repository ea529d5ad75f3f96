"""YAML in which plain words mean what YAML 1.2 says: 1e-4 is a number; `no` and 2024-01-01 are text.

PyYAML follows YAML 1.1. One notation goes beyond 1.2: underscores between digits, as in 10_000_000.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from partialfc.config.shown import shown
from partialfc.errors import ConfigError

LARGEST = 100_000  # values of a document; a few lines of aliases would make billions

_TAG = "tag:yaml.org,2002:"
_DIGITS = "[0-9](?:_?[0-9])*"
_EXPONENT = "[eE][-+]?[0-9]+"
_WORDS = {  # what a plain word of each type looks like; any other is text
    "null": "~|null|Null|NULL|",
    "bool": "true|True|TRUE|false|False|FALSE",
    "int": "[-+]?(?:0|[1-9](?:_?[0-9])*|0o[0-7]+|0x[0-9a-fA-F]+)",
    "float": rf"[-+]?(?:(?:{_DIGITS}\.(?:{_DIGITS})?|\.{_DIGITS})(?:{_EXPONENT})?|{_DIGITS}{_EXPONENT}"
    r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
    "merge": "<<",
}
_KINDS = {"bool": "a boolean", "int": "a whole number of at most 64 bits", "float": "a number"}
_TYPES = ("null", "str", "seq", "map", *_KINDS)


def load(text: str, origin: str) -> Any:
    """The one document in the text; ConfigError calls the text `origin` and gives line and column.

    Nothing but null, booleans, numbers, text, lists and mappings, and no key twice in a mapping. No tag of it
    makes anything else, and its aliases no more than LARGEST values.
    """
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = ", ".join(filter(None, (error.context, error.problem)))
        raise ConfigError(f"{origin}: {place}{problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{origin}: line {line}: U+{error.character:04X} is not allowed in YAML") from error
    except RecursionError as error:
        raise ConfigError(f"{origin}: nested too deeply") from error
    if not _is_bounded(content):
        raise ConfigError(f"{origin}: holds more than {LARGEST:,} values, or one that holds itself")
    return content


def _is_bounded(content: Any) -> bool:
    """Whether it has at most LARGEST values; what an alias repeats counts each time."""
    count, rest = 0, [content]
    while rest and count <= LARGEST:
        value = rest.pop()
        count += 1
        if isinstance(value, Mapping):
            rest += value.values()
        elif isinstance(value, list):
            rest += value
    return count <= LARGEST


def dump(content: Any) -> str:
    """Text that `load` turns into equal content; mappings keep their order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def dump_line(content: Any) -> str:
    """The same on one line, mappings and lists in braces and brackets."""
    text = yaml.dump(
        content,
        Dumper=_LineDumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=True,
        width=math.inf,
    )
    return text.removesuffix("...\n").rstrip("\n")


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            word = (key.tag, key.value)
            if word in first:
                raise _error(f"key {key.value!r} is given twice, first in line {first[word]}", key)
            first[word] = key.start_mark.line + 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError) as error:  # what PyYAML lets through for text such as "!!float x"
            raise _error(f"{shown(node.value)} is not {_KINDS[node.tag.removeprefix(_TAG)]}", node) from error

    def construct_whole(self, node: yaml.ScalarNode) -> int:
        value = int(str(self.construct_scalar(node)), base=0)
        if value.bit_length() > 64:
            raise ValueError("more than 64 bits")
        return value


class _Dumper(yaml.SafeDumper):
    """Quotes text that either version of YAML would take for something else."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = '"' if re.search("[\x85\u2028\u2029]", text) else None  # PyYAML would fold these line breaks
        return self.represent_scalar(f"{_TAG}str", text, style=style)


class _LineDumper(_Dumper):
    """As `_Dumper`, but text with line breaks stays on one line."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return (
            self.represent_scalar(f"{_TAG}str", text, style='"')
            if "\n" in text
            else super().represent_text(text)
        )


def _error(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


_constructors = yaml.SafeLoader.yaml_constructors
_Loader.yaml_constructors = {
    None: _constructors[None],  # says of any other tag that there is no constructor
    **{f"{_TAG}{name}": _constructors[f"{_TAG}{name}"] for name in _TYPES},
    f"{_TAG}int": _Loader.construct_whole,
}
_Loader.yaml_implicit_resolvers = {}
for _each in (_Dumper, _LineDumper):
    _each.add_representer(str, _each.represent_text)
for _name, _pattern in _WORDS.items():
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"(?:{_pattern})\Z"), None)
