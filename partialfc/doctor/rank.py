"""The checks that a rank makes alone, without any other."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from partialfc.config import Config, DataConfig
from partialfc.config.objective import has_head
from partialfc.config.plan import planned_device, planned_setting
from partialfc.config.plan_pool import planned_pool
from partialfc.data.loading import dali_package
from partialfc.data.sources.labelled import Labelled
from partialfc.distributed.torchrun import local_rank
from partialfc.doctor.check import Check, attempt, failed
from partialfc.doctor.class_pool import examine_pool
from partialfc.doctor.data import check_records, check_source
from partialfc.doctor.devices import check_amp, check_backend, check_device, cores, local_ranks
from partialfc.doctor.disk import check_room, check_writing, count_checkpoints
from partialfc.doctor.identities import judge_identities
from partialfc.doctor.labels import judge_class_sizes, judge_labels, judge_num_classes, read_labels
from partialfc.doctor.limits import check_files, check_metrics_port, check_shared_memory
from partialfc.doctor.loading import judge_loading, loading_rate
from partialfc.doctor.losses import judge_losses
from partialfc.doctor.meeting import Meeting
from partialfc.doctor.pairs import check_pairs
from partialfc.doctor.resume import check_resume, check_run_folder
from partialfc.doctor.software import check_compile, check_trackers, judge_dali, versions
from partialfc.doctor.training import Training, examine_training
from partialfc.errors import ConfigError
from partialfc.plan import PoolSetting, Setting
from partialfc.training.builders.data import build_loader_from, read_training_source
from partialfc.training.builders.schedule import total_steps
from partialfc.training.determinism import set_determinism
from partialfc.training.requirements import require_sample_each

SECONDS = 3.0  # of each measurement
STEP, LOADING = "step", "loading"  # the measurements that all ranks begin at the same time


@dataclass(frozen=True, slots=True)
class Found:
    """What one rank tells rank 0. classes, steps and training are None where there is no job to say them."""

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


def examine_rank(config: Config | None, meeting: Meeting, *, quick: bool) -> Found:
    """Every check that needs no other rank. Of each machine only its first rank checks data and disks."""
    ranks = meeting.size
    if config is not None and config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    refused = _determinism(config)
    check, device = check_device("auto" if config is None else config.train.device)
    found = Found(
        host=os.uname().nodename,
        versions=versions(),
        device="cpu" if device is None else device.type,
        checks=(*refused, check, *_limits(config, ranks)),
    )
    if device is None:
        return found
    found = _with(found, attempt("backend", lambda: check_backend(device, ranks)))
    if device.type == "cuda" or (config is not None and config.data.loader == "dali"):
        found = _with(found, *judge_dali(dali_package.installed(), torch.version.cuda))
    if config is not None:
        found = _with(found, attempt("amp", lambda: check_amp(config.train.amp, device)))
        return _examine_job(config, found, device, meeting, quick=quick)
    return found if quick else _with(found, attempt("compile", lambda: check_compile(device)))


def _examine_job(
    config: Config, found: Found, device: torch.device, meeting: Meeting, *, quick: bool
) -> Found:
    section, run_dir = config.data, config.run.dir
    check, source = check_source(
        section.places, lambda: read_training_source(section, run_dir), class_depth=section.class_depth
    )
    found = _with(found, check)
    try:
        found = _measure(config, found, source, device, meeting, quick=quick)
    except Exception as error:  # an unexpected one: the other ranks must not wait for this rank
        found = _with(found, failed("job", error))
    meeting.pass_by(STEP, LOADING)
    if config.train.trackers and meeting.rank == 0:  # which alone has trackers
        found = _with(found, attempt("trackers", lambda: check_trackers(config.train.trackers)))
    if is_first := local_rank() == 0:  # after all that is timed, because decoding takes the cores
        found = _with(found, *_data(config, source), *_run(config, source, found.classes))
    if is_first and found.training is not None:
        found = _with(found, *_disks(config, found.training, source, quick=quick))
    return found


def _measure(
    config: Config,
    found: Found,
    source: Labelled | None,
    device: torch.device,
    meeting: Meeting,
    *,
    quick: bool,
) -> Found:
    """Memory and, unless quick, times, with all ranks of the machine at work at once, as in the run."""
    classes = config.data.num_classes or (source.num_classes if source else None)
    if classes is None:
        return found
    try:
        require_sample_each(config.train.batch_size, meeting.size)
        setting = _setting(config, classes, gpus=meeting.size, device=planned_device(device.type))
    except ConfigError as error:
        return _with(found, failed("config", error))
    if not quick and (setting.compiled or config.backbone.compile):
        found = _with(found, attempt("compile", lambda: check_compile(device)))
    if not quick:
        meeting.wait_for_all(STEP)
    if isinstance(setting, PoolSetting):
        checks, training = examine_pool(config, setting, device, quick=quick)
    else:
        checks, training = examine_training(config, setting, device, quick=quick)
    steps = None if source is None else total_steps(config.train, len(source))
    found = replace(_with(found, *checks), classes=classes, steps=steps, training=training)
    if training is None or training.compute is None or source is None or steps is None:
        return found
    compute = training.compute
    meeting.wait_for_all(LOADING)
    return _with(found, attempt("loading", lambda: _loading(config, source, meeting, device, compute, steps)))


def _setting(config: Config, classes: int, *, gpus: int, device: str) -> Setting | PoolSetting:
    if config.head.name == "pool":
        return planned_pool(config, {"classes": classes}, gpus=gpus, device=device)
    centres = classes if has_head(config.objective) else 1  # without a head: next to nothing
    return planned_setting(config, classes=centres, gpus=gpus, device=device)


def _with(found: Found, *checks: Check) -> Found:
    return replace(found, checks=(*found.checks, *checks))


def _determinism(config: Config | None) -> list[Check]:
    """Compute from here on as the job would, before anything uses CUDA; a check where that cannot be."""
    try:
        set_determinism(config is not None and config.train.deterministic)
    except ConfigError as error:
        return [failed("config", error)]
    return []


def _limits(config: Config | None, ranks: int) -> Iterator[Check]:
    if config is None:
        yield attempt("open files", lambda: check_files(workers=0, ranks=ranks))
        return
    section = config.data
    yield attempt("open files", lambda: check_files(workers=section.workers, ranks=ranks))
    image_bytes = section.channels * section.image_size**2
    yield attempt(
        "shared memory",
        lambda: check_shared_memory(
            batch_bytes=-(-config.train.batch_size // ranks) * image_bytes,
            workers=section.workers,
            ranks=local_ranks(),
        ),
    )
    metrics = config.metrics
    yield attempt(
        "metrics port",
        lambda: check_metrics_port(metrics.bind, metrics.port, rank=local_rank()),
    )


def _data(config: Config, source: Labelled | None) -> Iterator[Check]:
    section, verification = config.data, config.verification
    if source is not None:
        asked = section.num_classes
        yield from judge_losses(config, asked or source.num_classes)
        yield judge_num_classes(asked, source.num_classes, least=source.least_classes, data=section.places)
        yield attempt("records", lambda: _records(source, section))
        yield from _labels(source, asked or source.num_classes, config)
    yield attempt(
        "verification",
        lambda: check_pairs(verification.sets, folds=verification.folds, max_pixels=section.max_pixels),
    )


def _records(source: Labelled, section: DataConfig) -> Check:
    return check_records(
        source,
        channels=section.channels,
        max_pixels=section.max_pixels,
        allowed=section.max_bad_records,
        seconds=SECONDS,
    )


def _run(config: Config, source: Labelled | None, classes: int | None) -> Iterator[Check]:
    yield attempt("run folder", lambda: check_run_folder(config.run.dir))
    if classes is not None:
        now = config.model_dump(mode="json")
        how = config.checkpoint.resume
        yield attempt(
            "resume", lambda: check_resume(config.run.dir, how, source, classes=classes, config=now)
        )


def _labels(source: Labelled, classes: int, config: Config) -> Iterator[Check]:
    data, each = config.data.places, config.data.images_per_identity
    try:
        labels = read_labels(source, seconds=SECONDS)
    except Exception as error:
        yield failed("labels", error)
        return
    yield attempt("labels", lambda: judge_labels(labels, source, num_classes=classes, data=data))
    yield attempt("class sizes", lambda: judge_class_sizes(labels, num_classes=classes, data=data))
    if each is not None:
        batch = config.train.batch_size
        yield attempt("identities", lambda: judge_identities(labels, classes, batch=batch, each=each))


def _loading(
    config: Config, source: Labelled, meeting: Meeting, device: torch.device, compute: float, steps: int
) -> Check:
    loader = build_loader_from(
        config.data,
        source,
        device,
        num_classes=config.data.num_classes or source.num_classes,
        batch_size=config.train.batch_size,
        seed=config.run.seed,
        rank=meeting.rank,
        world_size=meeting.size,
        position=0,
    )
    return judge_loading(
        loading_rate(loader, seconds=SECONDS),
        workers=config.data.workers,
        batch=-(-config.train.samples_per_step // meeting.size),
        compute=compute,
        steps=steps,
        cores=cores(),
        ranks=local_ranks(),
    )


def _disks(config: Config, training: Training, source: Labelled | None, *, quick: bool) -> Iterator[Check]:
    section, folder = config.checkpoint, config.run.dir / "checkpoints"
    count = count_checkpoints(folder, section)
    yield attempt("disk space", lambda: check_room(folder, checkpoint=training.checkpoint, count=count))
    steps: float | None = section.every_steps
    if steps is None and source is not None:
        steps = (section.every_epochs or 1.0) * len(source) / config.train.samples_per_step
    interval = None if steps is None or training.compute is None else steps * training.compute
    if not quick:
        yield attempt(
            "disk writing",
            lambda: check_writing(folder, checkpoint=training.checkpoint, interval=interval),
        )
