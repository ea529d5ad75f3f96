"""Where the outputs of a command may go: to no file that it reads, and not two of them to one."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from partialfc.errors import ConfigError
from partialfc.files import require_file


def require_output(
    context: typer.Context, option: str, output: Path | None, *, beside: Path | None = None
) -> None:
    """ConfigError unless `output` is None, or a file to write, as `require_file`, that no other argument of
    the command names. beside: a second file that the same option has written, which must be free likewise.
    """
    require_file(option, output)
    if output is None:
        return
    for written in (output,) if beside is None else (output, beside):
        for parameter in context.command.params:
            other = _called(parameter)
            if other == option and written is output:
                continue
            if any(_is_one(written, place) for place in _places(context.params.get(parameter.name or ""))):
                too = "" if written is output else f", and {str(written)!r} is written beside it"
                raise ConfigError(
                    f"{option} is {str(output)!r}{too}, which {other} names too, and would be lost: name "
                    "another file"
                )


def _called(parameter: Any) -> str:
    """What the help calls a parameter."""
    option = next((each for each in parameter.opts if each.startswith("--")), None)
    return option or str(parameter.metavar or parameter.name.upper()).split()[0].rstrip(".")


def _places(value: Any) -> Iterator[str]:
    match value:
        case str() | os.PathLike():
            yield os.fspath(value)
        case list() | tuple():
            for each in value:
                yield from _places(each)


def _is_one(first: Path, place: str) -> bool:
    """Whether both are one file, by whatever names, or would be."""
    second = Path(place)
    if first.is_file() and second.is_file():
        return first.samefile(second)
    return os.path.realpath(first) == os.path.realpath(second)
