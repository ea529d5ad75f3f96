"""What a rank finds out by itself, before it talks to others."""

import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from partialfc.config import Config
from partialfc.config_plan import planned_setting
from partialfc.data.source import Source
from partialfc.distributed import World
from partialfc.doctor import data, devices, disk, limits, loading, software
from partialfc.doctor.check import Check, attempt, failed, red
from partialfc.doctor.pairs import check_pairs
from partialfc.doctor.training import Training, examine_training
from partialfc.errors import ConfigError
from partialfc.objects import build_loader_from

SECONDS = 3.0  # of each measurement


@dataclass(frozen=True, slots=True)
class Found:
    """What one rank tells rank 0. classes, steps and training are None where no job says them."""

    host: str
    versions: dict[str, str]
    device: str
    checks: tuple[Check, ...]
    classes: int | None = None
    steps: int | None = None
    training: Training | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Found":
        made = {
            "checks": tuple(Check.from_dict(check) for check in values["checks"]),
            "training": values["training"] and Training(**values["training"]),
        }
        return Found(**{**values, **made})


def examine_rank(config: Config | None, world: World, *, quick: bool) -> Found:
    """Every check that needs no other rank; a machine's data and disks are left to its first rank."""
    ranks = world.size
    if config is not None and config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    check, device = devices.check_device("auto" if config is None else config.train.device)
    found = Found(
        host=os.uname().nodename,
        versions=software.versions(),
        device="cpu" if device is None else device.type,
        checks=(check, *_limits(config, ranks)),
    )
    if device is None:
        return found
    found = _with(found, attempt("backend", lambda: devices.check_backend(device, ranks)))
    if config is not None:
        return _examine_job(config, found, device, world, quick=quick)
    return found if quick else _with(found, attempt("compile", lambda: software.check_compile(device)))


def _examine_job(config: Config, found: Found, device: torch.device, world: World, *, quick: bool) -> Found:
    check, source = data.check_source(config.data.train)
    found = _with(found, check)
    first = devices.local_rank() == 0
    if first:
        found = _with(found, *_data(config, source))
    classes = config.data.num_classes or (source.num_classes if source else None)
    if classes is None:
        return found
    if config.train.batch_size < world.size:
        says = f"train.batch_size is {config.train.batch_size}, but there are {world.size} ranks"
        return _with(found, red("config", says, "raise it, or start fewer processes: each needs a sample"))
    try:
        setting = planned_setting(config, classes=classes, gpus=world.size, device=device.type)
    except ConfigError as error:
        return _with(found, failed("config", error))
    if not quick and (setting.compiled or config.backbone.compile):
        found = _with(found, attempt("compile", lambda: software.check_compile(device)))
    checks, training = examine_training(config, setting, device, quick=quick)
    steps = None if source is None else _steps(config, source)
    found = replace(_with(found, *checks), classes=classes, steps=steps, training=training)
    if training is None:
        return found
    compute = training.compute
    if source is not None and steps is not None and compute is not None:
        found = _with(
            found, attempt("loading", lambda: _loading(config, source, world, device, compute, steps))
        )
    if first:
        found = _with(found, *_disks(config, training, source, quick=quick))
    return found


def _with(found: Found, *checks: Check) -> Found:
    return replace(found, checks=(*found.checks, *checks))


def _limits(config: Config | None, ranks: int) -> Iterator[Check]:
    if config is None:
        yield attempt("open files", lambda: limits.check_files(workers=0, ranks=ranks))
        return
    section = config.data
    yield attempt("open files", lambda: limits.check_files(workers=section.workers, ranks=ranks))
    image_bytes = section.channels * section.image_size**2
    yield attempt(
        "shared memory",
        lambda: limits.check_shared_memory(
            batch_bytes=-(-config.train.batch_size // ranks) * image_bytes,
            workers=section.workers,
            ranks=devices.local_ranks(),
        ),
    )
    metrics = config.metrics
    yield attempt(
        "metrics port",
        lambda: limits.check_metrics_port(metrics.bind, metrics.port, rank=devices.local_rank()),
    )


def _data(config: Config, source: Source | None) -> Iterator[Check]:
    section, verification = config.data, config.verification
    if source is not None:
        asked = section.num_classes
        yield data.judge_num_classes(asked, source.num_classes)
        yield attempt(
            "records", lambda: data.check_records(source, channels=section.channels, seconds=SECONDS)
        )
        labels = data.read_labels(source, seconds=SECONDS)
        classes = asked or source.num_classes
        yield attempt("labels", lambda: data.judge_labels(labels, source, num_classes=classes))
        yield attempt("class sizes", lambda: data.judge_class_sizes(labels, num_classes=source.num_classes))
    yield attempt(
        "verification",
        lambda: check_pairs(verification.sets, channels=section.channels, folds=verification.folds),
    )


def _steps(config: Config, source: Source) -> int:
    epoch = len(source) / config.train.samples_per_step
    return config.train.steps or math.ceil((config.train.epochs or 0.0) * epoch)


def _loading(
    config: Config, source: Source, world: World, device: torch.device, compute: float, steps: int
) -> Check:
    """The ranks of a machine measure at the same time, as they will run."""
    loader = build_loader_from(config, source, world, device, position=0)
    return loading.judge_loading(
        loading.loading_rate(loader, seconds=SECONDS),
        workers=config.data.workers,
        batch=-(-config.train.samples_per_step // world.size),
        compute=compute,
        steps=steps,
        cores=devices.cores(),
        ranks=devices.local_ranks(),
    )


def _disks(config: Config, training: Training, source: Source | None, *, quick: bool) -> Iterator[Check]:
    section, folder = config.checkpoint, config.run.dir
    count = section.keep_last + section.keep_best + 1  # the one being written is there beside those kept
    yield attempt("disk space", lambda: disk.check_room(folder, checkpoint=training.checkpoint, count=count))
    steps: float | None = section.every_steps
    if steps is None and source is not None:
        steps = (section.every_epochs or 1.0) * len(source) / config.train.samples_per_step
    interval = None if steps is None or training.compute is None else steps * training.compute
    if not quick:
        yield attempt(
            "disk writing",
            lambda: disk.check_writing(folder, checkpoint=training.checkpoint, interval=interval),
        )
