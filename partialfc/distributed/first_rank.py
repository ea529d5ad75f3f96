"""Work that rank 0 does for all: its result, or its failure, is every rank's."""

import json
from collections.abc import Callable
from typing import TypeVar

from partialfc import errors
from partialfc.distributed.together import from_values, to_values
from partialfc.distributed.world import World

Result = TypeVar("Result")


def on_first_rank(world: World, action: Callable[[], Result]) -> Result:
    """Collective: rank 0 calls `action`; every rank gets its result, of numbers, texts, lists and dicts.

    An OSError of it, or an error of this package, is raised on every rank: none is left waiting for rank 0.
    """
    if world.size == 1:
        return action()
    answer = _answer(action) if world.rank == 0 else {}
    answer = json.loads(world.gather_texts(json.dumps(answer))[0])
    if "failure" in answer:
        raise from_values(answer["failure"])
    result: Result = answer["result"]
    return result


def _answer(action: Callable[[], object]) -> dict[str, object]:
    try:
        return {"result": action()}
    except (OSError, errors.PartialFCError) as error:
        return {"failure": to_values(error)}
