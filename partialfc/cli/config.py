"""The `partialfc config` command."""

import json
from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import Overrides


def config(
    file: Annotated[Path | None, typer.Argument(help="YAML file to check.", show_default=False)] = None,
    overrides: Overrides = None,
    example: Annotated[
        str | None,
        typer.Option(
            help="Print a config that comes along instead, to start from, such as quickstart or folder; "
            "a name that it does not know brings the list."
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of config files instead, for editors.")
    ] = False,
) -> None:
    """Check a config and print every value that a run would use, defaults included."""
    from partialfc.config import config_schema, dump_config, example_text, load_config

    if schema:
        print(json.dumps(config_schema(), indent=2))
    elif example is not None:
        print(example_text(example), end="")
    elif file is None:
        raise typer.BadParameter("give a config file, --example NAME or --schema")
    else:
        print(dump_config(load_config(file, overrides or [])), end="")
