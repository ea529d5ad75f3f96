"""From config sections to objects."""

import json
import logging
import math
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from partialfc.backbones import build_backbone
from partialfc.config import Config
from partialfc.data.images.augmentation import Augment
from partialfc.data.loading.dali import build_dali_loader
from partialfc.data.loading.loader import Loader
from partialfc.data.loading.plain import build_loader
from partialfc.data.pairs.files import read_pairs
from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.source import Source, open_source
from partialfc.distributed.device import has_bfloat16
from partialfc.distributed.world import World
from partialfc.errors import CheckpointError, ConfigError
from partialfc.evaluation.sets import VerificationSets
from partialfc.files import write_whole
from partialfc.head.margins.base import Margin
from partialfc.head.margins.combined import ArcFace, CombinedMargin, CosFace, NormalizedSoftmax
from partialfc.head.optim.adamw import RowAdamW
from partialfc.head.optim.base import RowOptimizer
from partialfc.head.optim.sgd import RowSGD
from partialfc.head.partial_fc import PartialFC
from partialfc.metrics.publish import published
from partialfc.metrics.registry import Registry
from partialfc.training.schedule import Schedule

log = logging.getLogger(__name__)

CLASSES = "classes.json"

MARGINS: dict[str, type[Margin]] = {
    "arcface": ArcFace,
    "cosface": CosFace,
    "normalized_softmax": NormalizedSoftmax,
    "combined": CombinedMargin,
}


def autocast_dtype(config: Config, device: torch.device) -> torch.dtype | None:
    """What `train.amp` makes of the backbone's products on the device; None: they stay float32."""
    wanted = config.train.amp == "bfloat16" or (config.train.amp == "auto" and has_bfloat16(device))
    return torch.bfloat16 if wanted else None


def total_steps(config: Config, samples: int) -> int:
    """Steps of the whole run on so many samples."""
    epoch_steps = samples / config.train.samples_per_step
    return config.train.steps or math.ceil((config.train.epochs or 0.0) * epoch_steps)


def require_sample_each(config: Config, ranks: int) -> None:
    """ConfigError where a batch has fewer samples than there are ranks."""
    if config.train.batch_size < ranks:
        raise ConfigError(
            f"train.batch_size is {config.train.batch_size}, but there are {ranks} ranks: "
            "every rank needs at least one sample, so raise it or start fewer processes"
        )


def require_samples_to_normalise(config: Config, backbone: nn.Module, ranks: int) -> None:
    """ConfigError where a rank would normalise the embedding of one sample over the batch."""
    share = config.train.batch_size // ranks
    if share == 1 and any(isinstance(module, nn.BatchNorm1d) for module in backbone.modules()):
        raise ConfigError(
            f"train.batch_size is {config.train.batch_size} on {ranks} ranks, so one sample on some rank, "
            f"but {config.backbone.name} normalises over the batch: at least {2 * ranks} are needed"
        )


def open_training_source(config: Config, world: World) -> Source:
    """Collective: the training data; an image folder's class ids are saved, for the run to keep them."""
    source, index = read_training_source(config), config.run.dir / CLASSES
    if isinstance(source, FolderSource):
        world.barrier()  # every rank has looked for the index before one writes it
        if world.rank == 0 and not index.exists():
            write_whole(index, json.dumps(source.classes, indent=0, ensure_ascii=False))
    return source


def read_training_source(config: Config) -> Source:
    """The training data; an image folder has the class ids that this run has given before. Writes nothing."""
    path = config.data.train
    if not path.exists():
        raise ConfigError(f"data.train is {path}; it must be a .rec file or a folder of class folders")
    known = _known_classes(config.run.dir / CLASSES) if path.is_dir() else None
    return open_source(path) if known is None else FolderSource(path, known)


def _known_classes(index: Path) -> list[str] | None:
    """The class names that the run has saved, in the order of their ids; None before it has."""
    if not index.exists():
        return None
    try:
        names = json.loads(index.read_text())
    except (OSError, ValueError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f"{index} is damaged: it must hold a JSON list of class names; restore it, or start a new run.dir"
        )
    return names


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


def build_backbone_from(config: Config, *, with_weights: bool = True) -> nn.Module:
    """The config's backbone; with_weights=False leaves out `backbone.weights`, for who has better ones."""
    section = config.backbone
    backbone = build_backbone(
        section.name,
        embedding_size=section.embedding_size,
        image_size=config.data.image_size,
        channels=config.data.channels,
        **section.options,
    )
    if with_weights and section.weights is not None:
        load_weights(backbone, section.weights)
    return backbone


def load_weights(backbone: nn.Module, path: Path) -> None:
    """A state dict file (torch.save) into the backbone, read without running its pickle."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        backbone.load_state_dict(state)
    except Exception as error:
        raise CheckpointError(f"backbone.weights {path}: {error}") from error


def build_head(config: Config, num_classes: int) -> PartialFC:
    """Raises ConfigError where its centres do not fit the memory."""
    margin = config.head.margin.model_dump(exclude={"name"})
    try:
        return PartialFC(
            config.backbone.embedding_size,
            num_classes,
            margin=MARGINS[config.head.margin.name](**margin),
            sample_rate=config.head.sample_rate,
            weight_dtype=getattr(torch, config.head.weight_dtype),
            compute_dtype=getattr(torch, config.head.compute_dtype),
            gather_dtype=_dtype(config.head.gather_dtype),
            compile=config.head.compile,
            seed=config.run.seed,
        )
    except RuntimeError as error:  # the CPU's allocator has no error of its own
        if "allocate memory" not in str(error):
            raise
        raise ConfigError(
            f"data.num_classes is {num_classes:,}: centres of backbone.embedding_size "
            f"{config.backbone.embedding_size} do not fit this rank's memory; `partialfc plan CONFIG` says "
            "what would"
        ) from error


def build_optimizers(
    config: Config, backbone: nn.Module, head: PartialFC
) -> tuple[torch.optim.Optimizer, RowOptimizer]:
    """The backbone's optimizer and the centres'; the loop sets their learning rates."""
    section = config.optimizer
    lr, decay = section.effective_head_lr, section.effective_head_weight_decay
    if section.name == "adamw":
        return (
            torch.optim.AdamW(
                backbone.parameters(),
                lr=section.lr,
                betas=section.betas,
                eps=section.eps,
                weight_decay=section.weight_decay,
            ),
            RowAdamW(head, lr=lr, betas=section.betas, eps=section.eps, weight_decay=decay),
        )
    return (
        torch.optim.SGD(
            backbone.parameters(),
            lr=section.lr,
            momentum=section.momentum,
            weight_decay=section.weight_decay,
        ),
        RowSGD(
            head,
            lr=lr,
            momentum=section.momentum,
            weight_decay=decay,
            unsampled=config.unsampled,
            momentum_dtype=_dtype(config.head.momentum_dtype),
        ),
    )


def _dtype(name: str | None) -> torch.dtype | None:
    return None if name is None else getattr(torch, name)


def build_schedule(config: Config, total_steps: int, epoch_steps: float) -> Schedule:
    """The learning rate's factor of its peak by step."""
    section = config.schedule
    warmup = section.warmup_steps or math.ceil((section.warmup_epochs or 0.0) * epoch_steps)
    if warmup > total_steps:
        raise ConfigError(
            f"the warm-up has {warmup} steps, but the run only {total_steps}: "
            "shorten schedule.warmup_epochs or warmup_steps, or train longer"
        )
    return Schedule(
        peak=1.0,
        total_steps=total_steps,
        warmup_steps=warmup,
        name=section.name,
        power=section.power,
        final_ratio=section.final_lr_ratio,
    )


def build_verification(
    config: Config, world: World, device: torch.device, amp: torch.dtype | None
) -> VerificationSets:
    """Raises ConfigError where a set has fewer pairs than folds: now, not after the first epoch."""
    section = config.verification
    sets = {name: read_pairs(path) for name, path in section.sets.items()}
    for name, pairs in sets.items():
        if len(pairs.same) < section.folds:
            raise ConfigError(
                f"verification.folds is {section.folds}, but the set {name!r} has {len(pairs.same):,} pairs: "
                "every fold needs at least one"
            )
    return VerificationSets(
        sets,
        world,
        config.run.dir / "verification",
        embedding_size=config.backbone.embedding_size,
        image_size=config.data.image_size,
        channels=config.data.channels,
        batch_size=section.batch_size,
        device=device,
        folds=section.folds,
        flip=section.flip,
        amp=amp,
    )


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
