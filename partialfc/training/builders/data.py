"""The training data, its number of classes, and the loader of its batches."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from partialfc.config import DataConfig
from partialfc.data.images.augmentation import Augment
from partialfc.data.loading.dali import build_dali_loader
from partialfc.data.loading.loader import Loader
from partialfc.data.loading.plain import build_loader
from partialfc.data.sources.byte_files import is_pattern
from partialfc.data.sources.labelled import Labelled
from partialfc.data.sources.source import KINDS, open_source
from partialfc.distributed.accelerator import is_accelerator
from partialfc.distributed.first_rank import on_first_rank
from partialfc.distributed.together import together
from partialfc.distributed.world import World
from partialfc.errors import ConfigError, DataError
from partialfc.training.builders.order import build_order
from partialfc.training.classes import known_classes, save_classes
from partialfc.training.requirements import require_classes_of_data, require_room_for_labels
from partialfc.training.same_data import told_by_config

log = logging.getLogger(__name__)


def open_training_source(section: DataConfig, run_dir: Path, world: World) -> Labelled:
    """Collective: the training data, `data.train`; rank 0 saves the names of its classes in the run.

    Raises ConfigError where there is none, CheckpointError where the run's class ids are damaged.
    """
    with together(world):
        source = read_training_source(section, run_dir)
    on_first_rank(world, lambda: save_classes(run_dir, source))  # by now every rank has looked for saved ids
    return source


def read_training_source(section: DataConfig, run_dir: Path) -> Labelled:
    """The training data, with the class ids that the run gave its classes before. Writes nothing."""
    for place in section.places:
        if isinstance(place, Path) and not place.exists() and not is_pattern(place):
            raise ConfigError(f"data.train is {place}, which does not exist; it must be {KINDS}")
    known = known_classes(run_dir)
    try:
        return open_source(
            section.places,
            classes=known,
            class_depth=section.class_depth,
            root=section.root,
            only=section.only,
            leave_out=section.leave_out,
        )
    except DataError as error:
        if known is None:
            raise
        raise told_by_config(error, run_dir, section.model_dump(mode="json")) from error


def resolve_num_classes(section: DataConfig, source: Labelled) -> int:
    """`data.num_classes`, or without it the number of classes of the data.

    Raises ConfigError where that is fewer than the data has, LabelError where a label is known to be larger.
    """
    found = source.num_classes
    if found == 1:
        log.warning("%s has a single class, so there is nothing to learn", section.shown)
    num_classes = found if section.num_classes is None else section.num_classes
    require_classes_of_data(num_classes, found, section.shown)
    require_room_for_labels(num_classes, source)
    return num_classes


def build_loader_from(
    section: DataConfig,
    source: Labelled,
    device: torch.device,
    *,
    num_classes: int,
    batch_size: int,
    seed: int,
    rank: int,
    world_size: int,
    position: int,
) -> Loader:
    """The loader that `data.loader` asks for; DALI's puts its batches on `device`, the other on the CPU.

    batch_size: samples of a batch over all ranks. position: how many samples of the run came before. Raises
    ConfigError where the data has too few identities for a batch of `data.sampler: identities`.
    """
    options: dict[str, Any] = {
        "num_classes": num_classes,
        "global_batch": batch_size,
        "rank": rank,
        "world_size": world_size,
        "seed": seed,
        "position": position,
        "image_size": section.image_size,
        "channels": section.channels,
        "max_pixels": section.max_pixels,
        "augment": Augment(**section.augment.model_dump()),
        "workers": section.workers,
        "max_bad_records": section.max_bad_records,
        "timeout_seconds": section.timeout_seconds,
        "order": build_order(section, source, batch_size=batch_size, seed=seed),
    }
    on_gpu = device.type == "cuda"  # what DALI can decode on
    if section.loader == "dali" or (section.loader == "auto" and on_gpu and _has_dali()):
        return build_dali_loader(source, device=device, **options)
    return build_loader(source, pin_memory=is_accelerator(device), **options)


def _has_dali() -> bool:
    """Whether DALI is installed, without importing it."""
    return find_spec("nvidia") is not None and find_spec("nvidia.dali") is not None
