"""What the objective `occlusion` puts around the backbone."""

from torch import nn

from partialfc.config import Config, OcclusionConfig
from partialfc.data.loading.sampler import split_batch
from partialfc.distributed.world import World
from partialfc.errors import ConfigError
from partialfc.occlusion import OcclusionNetwork


def build_network(
    section: OcclusionConfig, backbone: nn.Module, config: Config, world: World
) -> OcclusionNetwork:
    """The network with this rank's place in the batch. Raises ConfigError where the backbone has no map."""
    first, _ = split_batch(config.train.batch_size, world.rank, world.size)
    try:
        return OcclusionNetwork(
            backbone,
            seed=config.run.seed,
            first=first,
            **section.model_dump(exclude={"name", "segmentation"}),
        )
    except ConfigError as error:
        raise ConfigError(f"objective.name is occlusion, but {error}") from error
