"""Options that a command takes as one value."""

from dataclasses import dataclass
from typing import Annotated

import typer
import typer.main
from typer.testing import CliRunner

from partialfc.cli.groups import grouped


@dataclass(frozen=True)
class Shape:
    side: Annotated[int, typer.Option(min=1)] = 3
    name: Annotated[str, typer.Option("--called")] = "square"


app = typer.Typer()


@app.command()
@grouped
def draw(
    *,
    context: typer.Context,
    place: str,
    dark: bool = False,
    shape: Shape,
    times: Annotated[int, typer.Option()],
) -> None:
    """Draw it."""
    print(place, dark, shape, times, context.params["side"])


def test_the_fields_of_a_group_are_options_in_its_place() -> None:
    command = typer.main.get_command(app)
    assert [each.name for each in command.params][:5] == ["place", "dark", "side", "name", "times"]
    assert command.help == "Draw it."


def test_a_group_is_one_value_with_what_was_given_and_defaults() -> None:
    done = CliRunner().invoke(app, ["here", "--times", "2", "--side", "7"])
    assert done.stdout == "here False Shape(side=7, name='square') 2 7\n"
    done = CliRunner().invoke(app, ["here", "--times", "2", "--called", "a"])
    assert done.stdout == "here False Shape(side=3, name='a') 2 3\n"


def test_rules_of_a_field_hold() -> None:
    assert CliRunner().invoke(app, ["here", "--times", "2", "--side", "0"]).exit_code == 2
