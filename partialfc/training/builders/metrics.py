"""The metrics of a run, and how they are published."""

from contextlib import AbstractContextManager
from pathlib import Path

import torch

from partialfc.config import MetricsConfig
from partialfc.distributed.world import World
from partialfc.head.partial_fc import PartialFC
from partialfc.metrics.publish import published
from partialfc.metrics.registry import Registry
from partialfc.metrics.run import RunMetrics


def build_metrics(
    section: MetricsConfig, run_dir: Path, *, world: World, head: PartialFC, device: torch.device
) -> RunMetrics:
    """This rank's metrics, under the name `metrics.run` or that of the run's folder."""
    name = section.run or run_dir.resolve().name
    return RunMetrics(run=name, world=world, head=head, device=device)


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
