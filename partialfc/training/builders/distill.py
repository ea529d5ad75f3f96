"""The teacher and the loss of `objective: distill`."""

import logging
from collections.abc import Callable
from typing import Any

import torch

from partialfc.config import Config, DistillConfig, HeadConfig
from partialfc.distillation import AngularDistillation, DistillationLoss, FeatureDistillation
from partialfc.distillation.teacher import Teacher, open_teacher
from partialfc.errors import CheckpointError, ConfigError
from partialfc.training.objectives.distill import Lesson

log = logging.getLogger(__name__)

LOSSES: dict[str, Callable[[], DistillationLoss]] = {
    "angular": AngularDistillation,
    "l2": FeatureDistillation,
}


def build_lesson(section: DistillConfig, config: Config, device: torch.device) -> Lesson:
    """The teacher on `device`, the loss to it, and its weight. Leaves torch's random generator as it was."""
    teacher = build_teacher(section, config).to(device)
    if config.backbone.channels_last:
        teacher.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    log.info(
        "objective.teacher_from: %s, %s parameters, weights %s",
        *(teacher.source, f"{sum(p.numel() for p in teacher.network.parameters()):,}", teacher.digest[:12]),
    )
    return Lesson(teacher, LOSSES[section.loss](), section.weight)


def warn_of_no_head(config: Config) -> None:
    """Log it where a config says something about a head that `objective.alone` leaves out."""
    said = {"head": config.head != HeadConfig(), "losses": config.losses, "stages": config.stages}
    if useless := [name for name, given in said.items() if given]:
        log.warning("objective.alone is true, so there is no head: %s: without effect", ", ".join(useless))


def build_teacher(section: DistillConfig, config: Config) -> Teacher:
    """The teacher, on the CPU.

    Raises ConfigError where it does not go with the run, CheckpointError where it cannot be loaded.
    """
    path, data = section.teacher_from, config.data
    network: dict[str, Any] | None = None
    if section.teacher is not None:
        if path.is_dir():
            raise ConfigError(
                f"objective.teacher is given, but objective.teacher_from {path} is a folder, whose run says "
                "of which network its weights are: leave objective.teacher out"
            )
        network = section.teacher.model_dump() | {
            "embedding_size": config.backbone.embedding_size,
            "image_size": data.image_size,
            "channels": data.channels,
            "options_key": "objective.teacher.options",
        }
    elif path.is_file():
        raise ConfigError(
            f"objective.teacher is missing: objective.teacher_from {path} is a file of weights, and does not "
            "say of which network; add objective.teacher.name, such as iresnet100"
        )
    own, _, attribute = config.backbone.name.partition(":")
    with torch.random.fork_rng(devices=[]):
        try:
            teacher = open_teacher(
                path, network=network, trust=[*section.trust, *([own] if attribute else [])]
            )
        except CheckpointError as error:
            raise CheckpointError(f"objective.teacher_from: {error}") from error
        except ConfigError as error:
            key = "objective.teacher_from" if network is None else "objective.teacher"
            allow = "; in a config: objective.trust" if "--trust" in str(error) else ""
            raise ConfigError(f"{key}: {error}{allow}") from error
    _check_sizes(teacher, config)
    return teacher


def _check_sizes(teacher: Teacher, config: Config) -> None:
    """ConfigError where the teacher takes other images or gives other embeddings than the student."""
    for what, found, key, own in (
        ("takes images of side", teacher.image_size, "data.image_size", config.data.image_size),
        ("takes images of so many channels:", teacher.channels, "data.channels", config.data.channels),
        (
            "gives embeddings of size",
            teacher.embedding_size,
            "backbone.embedding_size",
            config.backbone.embedding_size,
        ),
    ):
        if found != own:
            raise ConfigError(
                f"objective.teacher_from: the teacher {teacher.source} {what} {found}, and {key} is {own}: "
                f"they must be equal; set {key}={found}, or take another teacher"
            )
