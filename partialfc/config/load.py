"""The strict configuration of a run: a YAML file, then `section.key=value` overrides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from partialfc.config import yaml12
from partialfc.config.messages import explain
from partialfc.config.overrides import Override, source
from partialfc.config.root import Config
from partialfc.config.shown import shown
from partialfc.errors import ConfigError


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The config of a YAML file, or of nothing but overrides; ConfigError names each thing that is wrong."""
    if path is None:
        return parse_config({}, overrides, "command line")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}") from error
    content = yaml12.load(text, str(path))
    return parse_config({} if content is None else content, overrides, str(path))


def parse_config(mapping: Mapping[str, Any], overrides: Sequence[str], origin: str) -> Config:
    """The config of a mapping with overrides on top; errors call the mapping `origin`."""
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{origin}: must hold sections, such as 'run:', got {shown(mapping)}")
    merged = dict(mapping)
    parsed = [Override.parse(text) for text in overrides]
    for override in parsed:
        merged = override.apply(merged, origin)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        lines = []
        for details in error.errors():
            path, problem = explain(details)
            lines.append(": ".join(filter(None, (source(path, parsed, origin), ".".join(path), problem))))
        raise ConfigError("\n".join(lines)) from error


def dump_config(config: Config) -> str:
    """YAML with every value, defaults included; load_config makes an equal Config of it."""
    return yaml12.dump(config.model_dump(mode="json"))


def config_schema() -> dict[str, Any]:
    """The JSON schema of a config file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()
