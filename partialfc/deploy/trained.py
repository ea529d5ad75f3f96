"""The trained backbone of a checkpoint."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from partialfc.backbones import build_backbone
from partialfc.checkpoint.start import find_checkpoint
from partialfc.checkpoint.state import read_state
from partialfc.checkpoint.store import load_replicated
from partialfc.deploy.saved_network import SavedNetwork
from partialfc.errors import CheckpointError, ConfigError


@dataclass(frozen=True)
class Trained:
    """A trained backbone in evaluation mode, and the sizes of its input and output."""

    checkpoint: Path
    step: int
    backbone: nn.Module  # images [B, channels, image_size, image_size], floats in [-1, 1] -> [B, D]
    embedding_size: int  # D
    image_size: int
    channels: int


def load_trained(path: str | Path, *, trust: Collection[str] = ()) -> Trained:
    """The backbone of a checkpoint, or of the newest undamaged one of a run's folder, on the CPU.

    A checkpoint is data: no code that it names is run. A backbone of partialfc's own needs nothing more; for
    one of yours, `"my_networks:SmallNet"`, allow its module by name: `trust=["my_networks"]`.

    Raises CheckpointError if there is none, it is damaged, or it does not fit the backbone it names;
    ConfigError if this installation has no such backbone, or its module is not in `trust`.
    """
    if isinstance(trust, str):
        raise ConfigError(f"trust is {trust!r}; it must be a list of modules' names, such as [{trust!r}]")
    checkpoint = find_checkpoint(Path(path))
    saved = SavedNetwork.of(checkpoint, read_state(checkpoint))
    backbone = _build(checkpoint, saved, frozenset(trust))
    try:
        backbone.load_state_dict(load_replicated(checkpoint, "backbone/"))
    except CheckpointError:
        raise
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint} does not fit {saved.name}: {error}") from error
    return Trained(
        checkpoint=checkpoint,
        step=saved.step,
        backbone=backbone.eval(),
        embedding_size=saved.embedding_size,
        image_size=saved.image_size,
        channels=saved.channels,
    )


def _build(checkpoint: Path, saved: SavedNetwork, trust: frozenset[str]) -> nn.Module:
    try:
        return build_backbone(
            saved.name,
            embedding_size=saved.embedding_size,
            image_size=saved.image_size,
            channels=saved.channels,
            options=saved.options,
            trust=trust,
        )
    except ConfigError as error:
        raise ConfigError(f"{checkpoint}: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if ":" in saved.name:  # from the user's own code, which its traceback helps to mend
            raise
        raise CheckpointError(f"{checkpoint}: no memory holds its {saved.name}: {error}") from error
