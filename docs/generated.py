"""The parts of the reference that come from the program itself, as Markdown: its commands and keys.

A page asks for a part by a line of its own, such as `<!-- generated: commands -->`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import typer.main

from partialfc.cli.app import app
from partialfc.config import config_schema

REQUEST = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def filled(text: str) -> str:
    """A page's text with each request replaced by the part it names."""
    return REQUEST.sub(lambda request: PARTS[request[1]](), text)


def commands() -> str:
    """A section a command: its help, its arguments and options."""
    sections = []
    for name, command in all_commands():
        arguments = [_argument(each) for each in command.params if _is_argument(each)]
        usage = " ".join([name, *arguments, "[OPTIONS]"])
        lines = [f"## {name}", "", *_paragraphs(command.help or ""), "", "```text", usage, "```", ""]
        lines += _table(
            ("argument or option", "what it is", "default"),
            [_parameter_row(parameter) for parameter in command.params],
        )
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def all_commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name such as `partialfc data pack`."""
    yield from _below("partialfc", typer.main.get_command(app))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, each in inner.items():
        yield from _below(f"{name} {word}", each)


def config() -> str:
    """A section a section of the config: every key with its type, its default and its meaning."""
    schema = config_schema()
    sections = []
    for key, entry in schema["properties"].items():
        sections += _config_section(key, entry, schema["$defs"])
    return "\n\n".join(sections)


def config_keys() -> set[str]:
    """Every key of the config with its section, such as `head.margin.scale`, sections included."""
    schema = config_schema()
    found = set()
    for key, entry in schema["properties"].items():
        found |= {key} | _keys_below(key, entry, schema["$defs"])
    return found


def _keys_below(path: str, entry: Mapping[str, Any], definitions: Mapping[str, Any]) -> set[str]:
    found = set()
    for variant in _variants(entry, definitions):
        for key, inner in variant["properties"].items():
            found |= {f"{path}.{key}"} | _keys_below(f"{path}.{key}", inner, definitions)
    return found


def _config_section(path: str, entry: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    """The text of a section, then those of the sections within it."""
    text, inner = [f"## {path}"], []
    if "description" in entry:
        text += ["", entry["description"]]
    variants = _variants(entry, definitions)
    for variant in variants:
        required = variant.get("required", [])
        rows = []
        if len(variants) > 1:
            text += ["", f"### {path}: {variant['properties']['name']['const']}"]
        said = variant.get("description", "").split("\n\nBuilt by ")[
            0
        ]  # the rest is for who changes the code
        text += ["", *_paragraphs(said)]
        for key, described in variant["properties"].items():
            if _variants(described, definitions):
                inner += _config_section(f"{path}.{key}", described, definitions)
                default = "`null`" if "anyOf" in described else ""
                rows.append((f"`{key}`", "section", default, f"see {path}.{key} below"))
            else:
                rows.append(_key_row(key, described, key in required))
        text += ["", *_table(("key", "value", "default", "what it is"), rows)]
    return ["\n".join(text), *inner]


def _variants(entry: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a section, or each of a list, may be: one shape, or one for each `name`; else none."""
    entry = entry.get("items", entry)
    kinds = entry.get("oneOf") or entry.get("anyOf") or [entry]  # of one that may be left out: it and null
    references = [each["$ref"] for each in kinds if "$ref" in each]
    return [definitions[reference.rsplit("/", 1)[1]] for reference in references]


def _key_row(key: str, entry: Mapping[str, Any], required: bool) -> tuple[str, str, str, str]:
    default = "required" if required else f"`{_shown(entry.get('default'))}`"
    return f"`{key}`", _kind(entry), default, entry.get("description", "")


def _kind(entry: Mapping[str, Any]) -> str:
    """What a value may be, in words: "number, above 0, at most 1"."""
    if "anyOf" in entry:
        return " or ".join(dict.fromkeys(_kind(each) for each in entry["anyOf"]))
    if "const" in entry:
        return f"`{_shown(entry['const'])}`"
    if "enum" in entry:
        return ", ".join(f"`{_shown(value)}`" for value in entry["enum"])
    names = {
        "integer": "whole number",
        "number": "number",
        "boolean": "`true` or `false`",
        "string": "path" if entry.get("format") == "path" else "text",
        "null": "`null`",
        "array": "list",
        "object": "mapping",
    }
    bounds = (
        ("minimum", "at least {}"),
        ("exclusiveMinimum", "above {}"),
        ("maximum", "at most {}"),
        ("exclusiveMaximum", "below {}"),
    )
    parts = [names[entry["type"]]]
    parts += [words.format(_shown(entry[bound])) for bound, words in bounds if bound in entry]
    return ", ".join(parts)


def _shown(value: Any) -> str:
    """A value as YAML has it; large numbers by their power of two."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value == 2**63:
        return "2^63"
    return value if isinstance(value, str) else json.dumps(value)


def _is_argument(parameter: Any) -> bool:
    return not parameter.opts[0].startswith("-")


def _argument(parameter: Any) -> str:
    """As a usage line has it: NAME, [NAME] if it may be left out, [NAME]... if there may be several."""
    name = parameter.name.upper() if parameter.required else f"[{parameter.name.upper()}]"
    return name if parameter.nargs == 1 else f"{name}..."


def _parameter_row(parameter: Any) -> tuple[str, str, str]:
    names = [_argument(parameter)] if _is_argument(parameter) else parameter.opts
    default = parameter.default
    has_default = default is not None and default is not False
    shown = "required" if parameter.required else f"`{default}`" if has_default else ""
    return ", ".join(f"`{name}`" for name in names), parameter.help or "", shown


def _paragraphs(text: str) -> list[str]:
    """Lines as written; a single line break within a paragraph is none."""
    return [line.strip() for line in text.splitlines()]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *map(line, rows)]


PARTS = {"commands": commands, "config": config}
