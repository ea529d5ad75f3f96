"""Errors of one rank that are raised on every rank: none waits for it, and each says what happened."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from partialfc import errors
from partialfc.distributed.world import World

Carried = OSError | errors.PartialFCError  # what can be told to other ranks


@contextmanager
def together(world: World) -> Iterator[None]:
    """Around this rank's own work, with no collective in it; collective at its end.

    An OSError or an error of this package that a rank raises inside is raised on every rank. It names the
    rank, unless all have the same one; of several, that of the lowest rank is raised.
    """
    failure = None
    try:
        yield
    except (OSError, errors.PartialFCError) as error:
        failure = error
    raise_together(world, failure)


def raise_together(world: World, failure: Carried | None) -> None:
    """Collective: raise the failure of the lowest rank that has one on every rank; return where none has."""
    if world.size == 1:
        if failure is not None:
            raise failure
        return
    told = world.gather_texts("" if failure is None else json.dumps(to_values(failure)))
    for rank, text in enumerate(told):
        if text:
            where = "" if len(set(told)) == 1 else f"rank {rank}: "
            raise from_values(json.loads(text), where=where) from failure


def to_values(error: Carried) -> dict[str, Any]:
    """What another rank needs to raise the same error."""
    if isinstance(error, OSError):
        return {"system": (error.errno, error.strerror, error.filename and str(error.filename))}
    return {"raised": type(error).__name__, "says": str(error)}


def from_values(values: dict[str, Any], *, where: str = "") -> Carried:
    """The error again, its message behind `where`."""
    if "system" in values:
        number, says, filename = values["system"]
        return OSError(number, f"{where}{says}", filename)
    error: errors.PartialFCError = getattr(errors, values["raised"])(f"{where}{values['says']}")
    return error
