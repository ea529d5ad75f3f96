"""Probabilistic embeddings: the backbone of another run, and what says how sure it is."""

from torch import nn

from partialfc.config import PFEConfig
from partialfc.training.builders.backbone import start_from
from partialfc.training.builders.parts import Parts
from partialfc.training.objectives.pfe import ProbabilisticObjective
from partialfc.training.requirements import require_samples_to_normalise
from partialfc.training.sync_batchnorm import synchronised
from partialfc.uncertainty import ProbabilisticEmbedding


def build_pfe(backbone: nn.Module, parts: Parts) -> ProbabilisticObjective:
    """The backbone with the weights of `objective.backbone_from`, frozen, and its uncertainty, untrained.

    Raises CheckpointError where the weights do not fit it, ConfigError for a backbone without a feature map.
    """
    config, section = parts.config, parts.config.objective
    assert isinstance(section, PFEConfig)
    start_from(backbone, config.backbone, section.backbone_from, key="objective.backbone_from")
    network = ProbabilisticEmbedding(backbone, config.backbone.embedding_size).to(parts.device)
    together = config.train.sync_batchnorm
    require_samples_to_normalise(
        network,
        "objective.name: pfe",
        batch_size=config.train.batch_size,
        ranks=1 if together else parts.world.size,
    )
    if together:
        synchronised(network.uncertainty, parts.world, parts.device)
    return ProbabilisticObjective(network, config.backbone.embedding_size)
