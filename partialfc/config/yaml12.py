"""YAML in which plain words mean what YAML 1.2 says: 1e-4 is a number; `no` and 2024-01-01 are text.

PyYAML follows YAML 1.1. One notation goes beyond 1.2: underscores between digits, as in 10_000_000.
"""

import re
from typing import Any

import yaml

from partialfc.config.shown import shown
from partialfc.errors import ConfigError

_TAG = "tag:yaml.org,2002:"
_DIGITS = r"[0-9](?:_?[0-9])*"
_EXPONENT = r"[eE][-+]?[0-9]+"
_SCALARS = {  # what a plain word looks like, and the characters that it may begin with
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9](?:_?[0-9])*|0o[0-7]+|0x[0-9a-fA-F]+)", list("-+0123456789")),
    "float": (
        rf"[-+]?(?:(?:{_DIGITS}\.(?:{_DIGITS})?|\.{_DIGITS})(?:{_EXPONENT})?|{_DIGITS}{_EXPONENT}"
        r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}
_KINDS = {"bool": "a boolean", "int": "a whole number of at most 64 bits", "float": "a number"}


def load(text: str, source: str) -> Any:
    """The one document in the text; ConfigError calls the text `source` and gives line and column.

    Nothing but null, booleans, numbers, text, lists and mappings, and no key twice in a mapping.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = ", ".join(filter(None, (error.context, error.problem)))
        raise ConfigError(f"{source}: {place}{problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{source}: line {line}: U+{error.character:04X} is not allowed in YAML") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: nested too deeply") from error


def dump(content: Any) -> str:
    """Text that `load` turns into equal content; mappings keep their order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - the declaration is PyYAML's
    yaml_constructors = {  # noqa: RUF012
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(_TAG) in ("null", "bool", "int", "float", "str", "seq", "map")
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                earlier = first.setdefault((key.tag, key.value), key)
                if earlier is not key:
                    line = earlier.start_mark.line + 1
                    problem = f"key {key.value!r} is given twice, first in line {line}"
                    raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, KeyError) as error:  # what PyYAML lets through for text such as "!!float x"
            problem = f"{shown(node.value)} is not {_KINDS[node.tag.removeprefix(_TAG)]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

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


_Loader.add_constructor(f"{_TAG}int", _Loader.construct_whole)
_Dumper.add_representer(str, _Dumper.represent_text)
for _name, (_pattern, _first) in _SCALARS.items():
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"^(?:{_pattern})$"), _first)
