"""From a YAML file and overrides `section.key=value` to a checked Config, and back to text.

The functions stand in the order in which a value passes through them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from partialfc.config.example import example_names
from partialfc.config.messages import Problem, explain
from partialfc.config.overrides import Override, origin_of
from partialfc.config.root import Config
from partialfc.config.shown import shown
from partialfc.config.staged import problems as problems_of_stages
from partialfc.config.yaml12 import dump, load
from partialfc.errors import ConfigError


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The config of a YAML file with overrides on top, or of overrides alone.

    Raises ConfigError, with a line for each thing that is wrong.
    """
    if path is None:
        return parse_config({}, overrides, "command line")
    return parse_config(_read(path), overrides, str(path))


def _read(path: Path) -> Any:
    """The content of the file; an empty file has no sections."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config: {error.strerror}{_comes_along(path)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}") from error
    content = load(text, str(path))
    return {} if content is None else content


def _comes_along(path: Path) -> str:
    """Where a file that is not there has the name of a config that comes along: how to get that one."""
    if path.exists() or path.suffix != ".yaml" or path.stem not in example_names():
        return ""
    return (
        "; a config of that name comes along, which this command writes: "
        f"partialfc config --example {path.stem} > {path.name}"
    )


def parse_config(mapping: Mapping[str, Any], overrides: Sequence[str], origin: str) -> Config:
    """The config of a mapping with overrides on top, in their order; errors call the mapping `origin`."""
    return _validate(*_merged(mapping, overrides, origin), origin)


def merge(mapping: Mapping[str, Any], overrides: Sequence[str], origin: str) -> dict[str, Any]:
    """The mapping with overrides on top, in their order, in which only what they say is checked."""
    return _merged(mapping, overrides, origin)[0]


def _merged(
    mapping: Mapping[str, Any], overrides: Sequence[str], origin: str
) -> tuple[dict[str, Any], list[Override]]:
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{origin}: must hold sections, such as 'run:', got {shown(mapping)}")
    parsed: list[Override] = []
    merged = dict(mapping)
    for override in [Override.parse(text) for text in overrides]:
        resolved = override.resolved(merged)
        merged = resolved.apply(merged, parsed, origin)
        parsed.append(resolved)
    return merged, parsed


def _validate(merged: dict[str, Any], overrides: Sequence[Override], origin: str) -> Config:
    """The mapping as a Config; an error names the overrides that it may come from, or else `origin`."""
    try:
        config = Config.model_validate(merged)
        problems = list(problems_of_stages(config))
    except ValidationError as error:
        problems = [_explained(details, overrides) for details in error.errors()]
    if problems:
        raise ConfigError("\n".join(_told(problem, overrides, origin) for problem in problems))
    return config


def _told(problem: Problem, overrides: Sequence[Override], origin: str) -> str:
    where = origin_of(problem.path, overrides, origin, problem.others)
    return ": ".join(filter(None, (where, ".".join(problem.path), problem.text)))


def _explained(error: ErrorDetails, overrides: Sequence[Override]) -> Problem:
    """What is wrong where; with the way out if an override gave a section of other keys another name."""
    problem = explain(error)
    path, section = problem.path, problem.path[:-1]
    names = [each.value for each in overrides if each.path == (*section, "name")]
    overridden = any(path[: len(each.path)] == each.path for each in overrides)
    if error["type"] == "extra_forbidden" and names and not overridden:
        leave_out = f"{'.'.join(section)}={{name: {names[-1]}}}"
        text = f"{problem.text} (to leave out the keys of another name, write {leave_out})"
        return problem._replace(text=text)
    return problem


def dump_config(config: Config) -> str:
    """YAML with every value, defaults included; load_config makes an equal Config of it."""
    return dump(config.model_dump(mode="json"))


def config_schema() -> dict[str, Any]:
    """The JSON schema of a config file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()
