"""The trained backbone of a checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from partialfc.backbones import build_backbone
from partialfc.checkpoint.folder import find_checkpoint
from partialfc.checkpoint.state import read_state
from partialfc.checkpoint.store import load_replicated
from partialfc.errors import CheckpointError


@dataclass(frozen=True)
class Trained:
    """A trained backbone in evaluation mode, and the sizes of its input and output."""

    checkpoint: Path
    step: int
    backbone: nn.Module  # images [B, channels, image_size, image_size], floats in [-1, 1] -> [B, D]
    embedding_size: int  # D
    image_size: int
    channels: int


def load_trained(path: str | Path) -> Trained:
    """The backbone of a checkpoint, or of the newest undamaged one of a run's folder, on the CPU.

    Raises CheckpointError if there is none, it is damaged, or it does not fit the backbone it names;
    ConfigError if this installation has no such backbone.
    """
    checkpoint = find_checkpoint(Path(path))
    state = read_state(checkpoint)
    saved, data = state["config"]["backbone"], state["config"]["data"]  # resolved: every key has its value
    size = {"image_size": data["image_size"], "channels": data["channels"]}
    embedding_size: int = saved["embedding_size"]
    backbone = build_backbone(saved["name"], embedding_size=embedding_size, **size, **saved["options"])
    try:
        backbone.load_state_dict(load_replicated(checkpoint, "backbone/"))
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint} does not fit {saved['name']}: {error}") from error
    return Trained(
        checkpoint=checkpoint,
        step=state["step"],
        backbone=backbone.eval(),
        embedding_size=embedding_size,
        **size,
    )
