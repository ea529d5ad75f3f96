"""What a protocol of `partialfc evaluate` is, and which of them the options given choose."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from partialfc.cli.values import is_given
from partialfc.errors import ConfigError

if TYPE_CHECKING:
    from partialfc.cli.protocols.setting import Setting


@dataclass(frozen=True)
class Answer:
    """What a protocol found: as text for people, and as values for --json."""

    text: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Protocol:
    """Attributes:
    chosen_by (str): The parameter of the command that chooses it, such as "pairs" for --pairs.
    options (frozenset[str]): The parameters that it reads besides, and which only some protocols read; those
        that no protocol names are for all of them.
    run (Callable): Collective, on every rank alike: what the network is in, and the values of `chosen_by` and
        of `options` by name -> what is printed.
    """

    chosen_by: str
    options: frozenset[str]
    run: "Callable[[Setting, Mapping[str, Any]], Answer]"


def choose(protocols: Sequence[Protocol], context: typer.Context) -> tuple[Protocol, Mapping[str, Any]]:
    """The protocol that the command line asks for, and the values for its `run`.

    Raises ConfigError where none or several are chosen, and for an option that the chosen one does not read.
    """
    given = [name for name in context.params if is_given(context, name)]
    chosen = [each for each in protocols if each.chosen_by in given]
    if len(chosen) != 1:
        names = ", ".join(_option(context, each.chosen_by) for each in protocols)
        found = " and ".join(_option(context, each.chosen_by) for each in chosen) or "none of them"
        verb = "were" if len(chosen) > 1 else "was"
        raise ConfigError(f"give one of {names}: it says what is measured; {found} {verb} given")
    (protocol,) = chosen
    for name in given:
        readers = [each for each in protocols if name in each.options]
        if readers and protocol not in readers:
            wanted = " or ".join(_option(context, each.chosen_by) for each in readers)
            own = _option(context, protocol.chosen_by)
            raise ConfigError(
                f"{_option(context, name)} goes with {wanted}; {own} does not read it: leave it out"
            )
    read = {protocol.chosen_by, *protocol.options}
    return protocol, {name: value for name, value in context.params.items() if name in read}


def _option(context: typer.Context, name: str) -> str:
    """As the command line has it: --max-pixels for max_pixels."""
    return next(each.opts[0] for each in context.command.params if each.name == name)
