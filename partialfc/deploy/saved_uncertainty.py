"""What a run with `objective: {name: pfe}` has beside its backbone, in a checkpoint or in an export."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from partialfc.errors import CheckpointError, ConfigError, in_one_line
from partialfc.uncertainty import ProbabilisticEmbedding

PREFIX = "uncertainty/"  # of its tensors in a checkpoint


def with_uncertainty(
    origin: Path, backbone: nn.Module, embedding_size: int, tensors: Mapping[str, Tensor]
) -> ProbabilisticEmbedding | None:
    """The backbone, already loaded, with the uncertainty of these tensors; None where there are none.

    Raises CheckpointError, which names their origin, where they do not fit the backbone.
    """
    if not tensors:
        return None
    try:
        network = ProbabilisticEmbedding(backbone, embedding_size)
        network.uncertainty.load_state_dict(tensors)
    except (ConfigError, RuntimeError) as error:
        raise CheckpointError(
            f"{origin}: its uncertainty does not fit its backbone: {in_one_line(error)}"
        ) from error
    return network.eval()
