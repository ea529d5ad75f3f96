"""Mistakes on the command line, in this project's words."""

import re
from typing import Any

import typer
from typer.core import TyperGroup

WORDS = {"int_parsing": "must be a whole number", "float_parsing": "must be a number"}


class Commands(TyperGroup):
    """Commands that say what a value must be, and what it was."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; typer.BadParameter where a value on its line is wrong."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if problems := getattr(error.__cause__, "errors", None):  # newer typers ask pydantic
                error.message = told(problems()[0])
            raise


def told(problem: Any) -> str:
    """What pydantic found wrong with a value: the rule, and the value."""
    if own := problem.get("ctx", {}).get("error"):  # another library's message, which names the value
        return str(own)
    rule = WORDS.get(problem["type"]) or re.sub(r"^\w+ should", "must", problem["msg"])
    return f"{rule}, got {problem['input']!r}"
