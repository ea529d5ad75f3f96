"""What a checkpoint of a run with `objective: {name: pfe}` has beside its backbone."""

from pathlib import Path

from torch import nn

from partialfc.checkpoint.store import load_replicated
from partialfc.errors import CheckpointError, ConfigError
from partialfc.uncertainty import ProbabilisticEmbedding

PREFIX = "uncertainty/"  # of its tensors in a checkpoint


def load_probabilistic(
    checkpoint: Path, backbone: nn.Module, embedding_size: int
) -> ProbabilisticEmbedding | None:
    """The backbone, already loaded, with the checkpoint's uncertainty; None where the checkpoint has none.

    Raises CheckpointError where it does not fit the backbone.
    """
    tensors = load_replicated(checkpoint, PREFIX)
    if not tensors:
        return None
    try:
        network = ProbabilisticEmbedding(backbone, embedding_size)
        network.uncertainty.load_state_dict(tensors)
    except (ConfigError, RuntimeError) as error:
        problem = str(error).strip().replace("\n\t", " ")
        raise CheckpointError(
            f"{checkpoint}: its uncertainty does not fit its backbone: {problem}"
        ) from error
    return network
