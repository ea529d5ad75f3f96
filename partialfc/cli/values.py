"""Values of options that are checked before any work is done."""

import os
import re
from collections.abc import Iterable

import typer

from partialfc.errors import ConfigError


def require_alone(command: str) -> None:
    """ConfigError under torchrun with several processes, each of which would do all the work."""
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        raise ConfigError(
            f"partialfc {command} is one process, not several of torchrun: start it without, and let "
            "--workers decode in parallel; for several GPUs start it once for each, with a part of the "
            "images: CUDA_VISIBLE_DEVICES=1 and --only FILE"
        )


def is_given(context: typer.Context, name: str) -> bool:
    """Whether the parameter stood on the command line or in the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


def require_rates(option: str, rates: Iterable[float]) -> None:
    """ConfigError unless each is a rate between 0 and 1, neither of them included."""
    for rate in rates:
        if not 0 < rate < 1:
            raise ConfigError(f"{option} is {rate:g}; it must lie between 0 and 1")


def height_and_width(option: str, text: str | None) -> tuple[int, int] | None:
    """The two numbers of "112x96", or one for both of "112"; None for None. ConfigError for other text."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})(?:[x×](\d{1,6}))?", text, re.ASCII)
    if match is None or 0 in (int(match[1]), int(match[2] or match[1])):
        raise ConfigError(f"{option} is {text!r}; it must be HEIGHTxWIDTH in pixels, such as 112x112")
    return int(match[1]), int(match[2] or match[1])


def amount_of(option: str, text: str | None) -> int | float | None:
    """A whole number from "100", a share from "10%", None for None. ConfigError for other text."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*%", text, re.ASCII)
    if match is not None and 0 < float(match[1]) < 100:
        return float(match[1]) / 100
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) == 0:
        raise ConfigError(
            f"{option} is {text!r}; it must be a whole number from 1 on, or a share such as 10%"
        )
    return int(text)
