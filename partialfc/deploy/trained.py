"""A trained backbone, out of a checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from partialfc.checkpoint.folder import find_checkpoint
from partialfc.checkpoint.state import read_state
from partialfc.checkpoint.store import load_replicated
from partialfc.config import parse_config
from partialfc.errors import CheckpointError
from partialfc.training.build.backbone import build_backbone_from


@dataclass(frozen=True)
class Trained:
    """A backbone in evaluation mode, and what it takes and gives."""

    checkpoint: Path
    step: int
    backbone: (
        nn.Module
    )  # float images [B, channels, image_size, image_size] in [-1, 1] -> [B, embedding_size]
    embedding_size: int
    image_size: int
    channels: int


def load_trained(path: str | Path) -> Trained:
    """The backbone of a checkpoint, or of the newest undamaged one of a run's folder, on the CPU.

    Raises CheckpointError if there is none, it is damaged, or it does not fit the backbone it names.
    """
    checkpoint = find_checkpoint(Path(path))
    state = read_state(checkpoint)
    config = parse_config(state["config"], [], str(checkpoint))
    backbone = build_backbone_from(config, with_weights=False)
    try:
        backbone.load_state_dict(load_replicated(checkpoint, "backbone/"))
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint} does not fit {config.backbone.name}: {error}") from error
    return Trained(
        checkpoint=checkpoint,
        step=state["step"],
        backbone=backbone.eval(),
        embedding_size=config.backbone.embedding_size,
        image_size=config.data.image_size,
        channels=config.data.channels,
    )
