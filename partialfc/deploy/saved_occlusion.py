"""What a checkpoint of a run with `objective: {name: occlusion}` has beside its backbone."""

from typing import Any

from partialfc.checkpoint.store import load_replicated
from partialfc.deploy.saved_config import saved_config, section
from partialfc.deploy.trained_network import Trained
from partialfc.errors import CheckpointError, ConfigError
from partialfc.occlusion import OcclusionNetwork

PREFIX = "occlusion/"  # of its tensors in a checkpoint
FIRST = "generator.layers.0.weight"  # [hidden, channels, 3, 3]
KEYS = ("ways", "size", "landmarks", "at")  # of the objective, that decide which masks there are


def load_occlusion(trained: Trained) -> OcclusionNetwork:
    """The trained backbone with its generator and branch, in evaluation mode; each image once, masked.

    Raises ConfigError for a run of another objective, CheckpointError where they do not fit, and for a file.
    """
    trained.require_checkpoint("branch that predicts occlusion")
    tensors = load_replicated(trained.checkpoint, PREFIX)
    if FIRST not in tensors:
        raise ConfigError(
            f"{trained.checkpoint} has no branch that predicts occlusion: train with "
            "objective: {name: occlusion}"
        )
    try:
        network = OcclusionNetwork(
            trained.backbone,
            seed=0,
            unmasked=False,
            share=1.0,
            hidden=len(tensors[FIRST]),
            **_options(trained),
        )
        network.load_beside_backbone(tensors)
    except (ConfigError, CheckpointError, ValueError, TypeError) as error:
        raise CheckpointError(f"{trained.checkpoint}: {error}") from error
    return network.eval()


def _options(trained: Trained) -> dict[str, Any]:
    objective = section(saved_config(trained.checkpoint), "objective")
    return {key: objective[key] for key in KEYS if key in objective}
