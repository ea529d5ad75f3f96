"""The training data, its number of classes, and the loader of its batches."""

import logging
from importlib.util import find_spec
from typing import Any

import torch

from partialfc.config import Config
from partialfc.data.images.augmentation import Augment
from partialfc.data.loading.dali import build_dali_loader
from partialfc.data.loading.loader import Loader
from partialfc.data.loading.plain import build_loader
from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.source import Source, open_source
from partialfc.distributed.world import World
from partialfc.errors import ConfigError
from partialfc.training.classes import CLASSES, known_classes, save_classes

log = logging.getLogger(__name__)


def open_training_source(config: Config, world: World) -> Source:
    """Collective: the training data; an image folder's class ids are saved, for the run to keep them."""
    source, index = read_training_source(config), config.run.dir / CLASSES
    if isinstance(source, FolderSource):
        world.barrier()  # every rank has looked for the index before one writes it
        if world.rank == 0 and not index.exists():
            save_classes(index, source.classes)
    return source


def read_training_source(config: Config) -> Source:
    """The training data; an image folder has the class ids that this run has given before. Writes nothing."""
    path = config.data.train
    if not path.exists():
        raise ConfigError(f"data.train is {path}; it must be a .rec file or a folder of class folders")
    known = known_classes(config.run.dir / CLASSES) if path.is_dir() else None
    return open_source(path) if known is None else FolderSource(path, known)


def resolve_num_classes(config: Config, source: Source) -> int:
    asked = config.data.num_classes
    if source.num_classes == 1:
        log.warning("%s has a single class, so there is nothing to learn", config.data.train)
    if asked is None:
        return source.num_classes
    if asked < source.num_classes:
        raise ConfigError(
            f"data.num_classes is {asked}, but {config.data.train} has {source.num_classes} classes; "
            "leave it out, or make it at least that"
        )
    return asked


def build_loader_from(
    config: Config, source: Source, device: torch.device, *, rank: int, world_size: int, position: int
) -> Loader:
    """The loader that data.loader asks for, of batches bound for `device`, where DALI's decodes them."""
    section = config.data
    options: dict[str, Any] = {
        "global_batch": config.train.batch_size,
        "rank": rank,
        "world_size": world_size,
        "seed": config.run.seed,
        "position": position,
        "image_size": section.image_size,
        "channels": section.channels,
        "augment": Augment(**section.augment.model_dump()),
        "workers": section.workers,
        "max_bad_records": section.max_bad_records,
        "timeout_seconds": section.timeout_seconds,
    }
    on_gpu = device.type == "cuda"
    if section.loader == "dali" or (section.loader == "auto" and on_gpu and _has_dali()):
        return build_dali_loader(source, device=device, **options)
    return build_loader(source, pin_memory=on_gpu, **options)


def _has_dali() -> bool:
    return find_spec("nvidia") is not None and find_spec("nvidia.dali") is not None
