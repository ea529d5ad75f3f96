"""How the metrics are published."""

from contextlib import AbstractContextManager

from partialfc.config import Config
from partialfc.distributed.world import World
from partialfc.metrics.publish import published
from partialfc.metrics.registry import Registry


def publishing(config: Config, registry: Registry, world: World) -> AbstractContextManager[None]:
    """While it is entered, the metrics are where `config.metrics` wants them."""
    section = config.metrics
    return published(
        registry,
        world,
        port=section.port,
        bind=section.bind,
        targets=section.targets,
        pushgateway=section.pushgateway,
    )
