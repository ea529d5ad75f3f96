"""What made the norms of a trained network's embeddings, as far as its checkpoint or its card tells."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partialfc.checkpoint.start import find_checkpoint
from partialfc.deploy.saved_config import saved_config, section
from partialfc.deploy.trained_network import Trained
from partialfc.errors import CheckpointError

MARGINS = ("magface", "adaface")  # that give the norm a meaning


def why_norms_say_nothing(trained: Trained) -> str | None:
    """Why the norms of a network's embeddings need not follow quality; None: its margin made them do so.

    A run with `objective: {name: pfe}` has the norms of the run that its backbone is from. An export has what
    its card says.
    """
    checkpoint, who = trained.checkpoint, str(trained.checkpoint)
    if trained.card is not None and trained.card.unit and trained.saved is None:
        return f"{who} gives rows of norm 1, all of them"
    if not trained.is_checkpoint:
        return _of_margin(who, {} if trained.card is None else trained.card.margin)
    config = saved_config(checkpoint)
    objective = section(config, "objective")
    if objective.get("name") == "pfe":
        origin = objective.get("backbone_from")
        who, config = f"{checkpoint} has the backbone of {origin}, which", _config_of_run(origin)
        objective = section(config, "objective")
    if objective.get("name") == "distill" and objective.get("alone"):
        return f"{who} was trained by a teacher alone, without a margin"
    unknown = objective.get("name") == "pfe"  # whose own head took no part either
    return _of_margin(who, {} if unknown else section(section(config, "head"), "margin"))


def _of_margin(who: str, margin: Mapping[str, Any]) -> str | None:
    name = margin.get("name")
    if name is None:
        return f"{who} was trained in a way that is not known"
    return None if name in MARGINS else f"{who} was trained with the margin {name}"


def _config_of_run(path: object) -> Mapping[str, Any]:
    """Of a run or a checkpoint; empty for a file of weights, or where it is no more."""
    try:
        return saved_config(find_checkpoint(Path(str(path))))
    except CheckpointError:
        return {}
