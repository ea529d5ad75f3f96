"""The metrics of a run, and how they are published."""

from contextlib import AbstractContextManager
from pathlib import Path

from partialfc.config import MetricsConfig
from partialfc.distributed.world import World
from partialfc.metrics.publish import published
from partialfc.metrics.registry import Registry
from partialfc.metrics.run import RunMetrics
from partialfc.training.run_state import RunState


def build_metrics(section: MetricsConfig, run_dir: Path, state: RunState, world: World) -> RunMetrics:
    """This rank's metrics, under the name `metrics.run` or that of the run's folder."""
    name = section.run or run_dir.resolve().name
    objective = state.objective
    return RunMetrics(
        run=name, world=world, watch=objective.watch, device=state.device, others=objective.worlds
    )


def publishing(section: MetricsConfig, registry: Registry, world: World) -> AbstractContextManager[None]:
    """As long as it is entered, the metrics are where the section wants them: served, listed or pushed."""
    return published(
        registry,
        world,
        port=section.port,
        bind=section.bind,
        targets=section.targets,
        pushgateway=section.pushgateway,
    )
