"""The metrics of a run, how they are published, and the trackers that are given its figures."""

from contextlib import AbstractContextManager
from pathlib import Path

from partialfc.config import Config, MetricsConfig
from partialfc.distributed.world import World
from partialfc.metrics.publish import published
from partialfc.metrics.registry import Registry
from partialfc.metrics.run import RunMetrics
from partialfc.metrics.trackers import Trackers
from partialfc.training.run_state import RunState


def build_metrics(section: MetricsConfig, run_dir: Path, state: RunState, world: World) -> RunMetrics:
    """This rank's metrics, under the name `metrics.run` or that of the run's folder."""
    name = _run_name(section, run_dir)
    objective = state.objective
    return RunMetrics(
        run=name, world=world, watch=objective.watch, device=state.device, others=objective.worlds
    )


def build_trackers(config: Config) -> Trackers:
    """Those that `train.trackers` names, for the run under the name that its metrics have."""
    return Trackers(
        config.train.trackers,
        project=config.train.tracker_project,
        run=_run_name(config.metrics, config.run.dir),
        config=config.model_dump(mode="json"),
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


def _run_name(section: MetricsConfig, run_dir: Path) -> str:
    return section.run or run_dir.resolve().name
