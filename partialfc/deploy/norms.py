"""What made the norms of a trained network's embeddings, as far as its checkpoint tells."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partialfc.checkpoint.start import find_checkpoint
from partialfc.checkpoint.state import read_state
from partialfc.errors import CheckpointError

MARGINS = ("magface", "adaface")  # that give the norm a meaning


def why_norms_say_nothing(checkpoint: Path) -> str | None:
    """Why the norms of a run's embeddings need not follow quality; None: its margin made them do so.

    A run with `objective: {name: pfe}` has the norms of the run that its backbone is from.
    """
    who, config = str(checkpoint), _config_of(checkpoint)
    objective = _section(config, "objective")
    if objective.get("name") == "pfe":
        origin = objective.get("backbone_from")
        who, config = f"{checkpoint} has the backbone of {origin}, which", _config_of_run(origin)
        objective = _section(config, "objective")
    if objective.get("name") == "distill" and objective.get("alone"):
        return f"{who} was trained by a teacher alone, without a margin"
    margin = _section(_section(config, "head"), "margin").get("name")
    if margin is None or objective.get("name") == "pfe":  # whose own head took no part either
        return f"{who} was trained in a way that is not known"
    return None if margin in MARGINS else f"{who} was trained with the margin {margin}"


def _config_of_run(path: object) -> Mapping[str, Any]:
    """Of a run or a checkpoint; empty for a file of weights, or where it is no more."""
    try:
        return _config_of(find_checkpoint(Path(str(path))))
    except CheckpointError:
        return {}


def _config_of(checkpoint: Path) -> Mapping[str, Any]:
    """As the checkpoint has it; empty where it has none."""
    return _section(read_state(checkpoint), "config")


def _section(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = mapping.get(name)
    return found if isinstance(found, Mapping) else {}
