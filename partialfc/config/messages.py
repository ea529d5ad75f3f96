"""What pydantic finds wrong, in messages that name the key, the rule, the value and what was meant."""

import itertools
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from partialfc.config.root import Config
from partialfc.config.section import RuleError
from partialfc.config.shown import shown

Keys = tuple[str, ...]

# Which keys there are, and how large a value may be, depends on the name of a section that has variants.
OF_VARIANT = (
    "missing",
    "extra_forbidden",
    "less_than",
    "less_than_equal",
    "greater_than",
    "greater_than_equal",
)


class Problem(NamedTuple):
    """What is wrong with a value of the config.

    path: its key as the user writes it, empty for the whole config. text: what is wrong there. others:
    further keys, from whose values it may come as well.
    """

    path: Keys
    text: str
    others: tuple[Keys, ...] = ()


def explain(error: ErrorDetails) -> Problem:
    """What pydantic found wrong."""
    if isinstance(rule := error.get("ctx", {}).get("error"), RuleError):
        return Problem(_split(rule.key), rule.rule, tuple(map(_split, rule.others)))
    path, section, names = _place(error["loc"])
    return Problem(*_explained(error, path, section), names if error["type"] in OF_VARIANT else ())


def _split(key: str) -> Keys:
    return tuple(key.split("."))


def _explained(error: ErrorDetails, path: Keys, section: type[BaseModel]) -> tuple[Keys, str]:
    """The path, or that of a key beside it which the message is about, and the message."""
    location, kind, value = error["loc"], error["type"], error["input"]
    match kind:
        case "missing":
            return path, _missing(section.model_fields[path[-1]])
        case "extra_forbidden" | "invalid_key":
            return path, _unknown(path, section)
        case "union_tag_invalid" if isinstance(value, dict):
            names = error["ctx"]["expected_tags"].replace("'", "")
            return (*path, "name"), f"must be one of {names}, got {shown(value['name'])}"
        case "union_tag_not_found" if isinstance(value, dict):
            of_list = path[-1].isdigit()  # an element of a list of sections
            names = map(_variant, _sections(section.model_fields[path[-1 - of_list]].annotation))
            return (*path, "name"), f"is required: one of {', '.join(names)}"
        case "value_error" if isinstance(value, dict):  # a rule between keys: it says itself what it got
            return path, str(error["ctx"]["error"])
        case "value_error":
            rule = str(error["ctx"]["error"])
        case "int_type" if isinstance(value, float) and value.is_integer():
            rule = f"must be a whole number, written {int(value)}"
        case "int_type":
            rule = "must be a whole number"
        case "bool_type":
            rule = "must be true or false"
        case "path_type":
            rule = "must be a path" + _colon_hint(value)
        case "string_type" if location[-1] == "[key]":
            return path, f"a key must be text, got {shown(value)}; put it in quotes"
        case "string_type":
            rule = "must be text" + _colon_hint(value)
        case "string_pattern_mismatch":
            rule = "must be a name such as " + " or ".join(section.model_fields[path[-1]].examples or ["x"])
        case "float_type":
            rule = "must be a number"
        case "dict_type":
            (example,) = section.model_fields[path[-1]].examples or [{"name": "value"}]
            rule = "must be values by name, such as " + _as_yaml(example)
        case "tuple_type":
            rule = "must be a list" + _such_list(path, section)
        case "too_short" | "too_long":
            bound, size = ("least", "min_length") if kind == "too_short" else ("most", "max_length")
            rule = f"must list at {bound} {error['ctx'][size]}{_such_list(path, section)}"
        case "model_type" | "model_attributes_type" | "union_tag_invalid":
            rule = "must be a section of keys and values" + _such_as(path, section, value)
        case _:
            rule = re.sub(r"^\w+ should", "must", error["msg"])
    return path, f"{rule}, got {shown(value)}"


def _such_as(path: Keys, section: type[BaseModel], value: object) -> str:
    """An example of a section that has variants: that of the value, if it is the name of one."""
    field = section.model_fields.get(path[-2] if path[-1].isdigit() else path[-1])
    if field is None or len(sections := [*_sections(field.annotation)]) < 2:
        return ""
    names = [_variant(each) for each in sections]
    return f", such as {{name: {value if value in names else names[0]}}}"


def _such_list(path: Keys, section: type[BaseModel]) -> str:
    """The first example of a list, if its field has one."""
    field = section.model_fields.get(path[-1])
    return f", such as [{', '.join(map(str, field.examples[0]))}]" if field and field.examples else ""


def _colon_hint(value: object) -> str:
    """What to do where YAML took text with a colon in it for keys and values."""
    if not isinstance(value, dict) or len(value) != 1:
        return ""
    ((name, below),) = value.items()
    if below is None:
        return f" (a name is missing after {name}: unless that is all, and then it needs quotes)"
    if isinstance(below, dict | list):
        return ""
    return f" (with a space after the colon, YAML reads a key: write {name}:{below}, or put it in quotes)"


def _as_yaml(mapping: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in mapping.items()) + "}"


def _place(location: tuple[int | str, ...]) -> tuple[Keys, type[BaseModel], tuple[Keys, ...]]:
    """pydantic's location of an error -> the keys that lead there, and the section that holds the last one.

    With them, the keys `name` by which sections around it are of their variants.

    pydantic adds the variant's name after a section that has variants, "[key]" after a bad key, and the type
    after each level of a free mapping such as backbone.options. An element of a list has its index as a key.
    """
    path: list[str] = []
    names: list[Keys] = []
    section: type[BaseModel] = Config
    below = section
    parts = iter(location)
    for part in parts:
        path.append(str(part))
        section = below
        field = section.model_fields.get(str(part))
        if field is None:
            continue
        if get_origin(field.annotation) is dict:
            path += [str(key) for key in itertools.islice(parts, 0, None, 2)]
        if get_origin(field.annotation) is tuple:
            path += [str(index) for index in itertools.islice(parts, 1)]
        sections = list(_sections(field.annotation))
        if len(sections) > 1:
            variant = next(parts, None)
            names.append((*path, "name"))
            sections = [inner for inner in sections if _variant(inner) == variant]
        if sections:
            below = sections[0]
    return tuple(path), section, tuple(names)


def _missing(field: FieldInfo) -> str:
    section = next(_sections(field.annotation), None)
    if section is None:
        return f"is required: {field.description}"
    needs = [name for name, inner in section.model_fields.items() if inner.is_required()]
    return f"section is required, with {', '.join(needs)}"


def _unknown(path: Keys, section: type[BaseModel]) -> str:
    """Say where the key belongs, else which key is spelt most like it, else which keys there are."""
    *parents, key = path
    kind = "key" if parents else "section"
    named = tuple(part for part in path if not part.isdigit())
    of_other = [] if key.isdigit() else [owner for other, owner in _keys() if other == named]
    if owners := [*map(_variant, of_other)]:
        below = {".".join(other) for other, _ in _keys(section, tuple(parents)) if other[-1] == key}
        if below:
            return f"name: {_variant(section)} has no such key; did you mean {' or '.join(sorted(below))}?"
        return f"name: {_variant(section)} has no such key; it belongs to name: {', '.join(owners)}"
    elsewhere = [".".join(other) for other, _ in _keys() if other[-1] == key]
    near = [".".join((*parents, name)) for name in get_close_matches(key, section.model_fields, n=1)]
    if meant := dict.fromkeys(elsewhere or near):
        return f"unknown {kind}; did you mean {' or '.join(meant)}?"
    return f"unknown {kind}; {'.'.join(parents) or 'the config'} has {', '.join(section.model_fields)}"


def _keys(section: type[BaseModel] = Config, prefix: Keys = ()) -> Iterator[tuple[Keys, type[BaseModel]]]:
    """Every key path below the section, with the section that holds its last key: each variant in turn."""
    for name, field in section.model_fields.items():
        yield (*prefix, name), section
        for inner in _sections(field.annotation):
            yield from _keys(inner, (*prefix, name))


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections in a field's type: none, one, or all variants."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)


def _variant(section: type[BaseModel]) -> str:
    return str(get_args(section.model_fields["name"].annotation)[0])
