"""The teacher and the loss of `objective: distill`."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from partialfc.config import Config, DistillConfig, HeadConfig
from partialfc.distillation import AngularDistillation, DistillationLoss, FeatureDistillation
from partialfc.distillation.teacher import ONNX, Teacher, knows_its_network, open_teacher
from partialfc.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from partialfc.training.objectives.distill import Lesson

log = logging.getLogger(__name__)

LOSSES: dict[str, Callable[[], DistillationLoss]] = {
    "angular": AngularDistillation,
    "l2": FeatureDistillation,
}


def build_lesson(section: DistillConfig, config: Config, device: torch.device) -> Lesson:
    """The teacher on `device`, the loss to it, and its weight. Leaves torch's random generator as it was."""
    teacher = build_teacher(section, config).to(device)
    if device.type != "cpu" and section.teacher_from.suffix == ONNX:
        log.warning(
            "objective.teacher_from: %s is run on the CPU, and each step waits for it", teacher.source
        )
    if config.backbone.channels_last:
        teacher.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    log.info(
        "objective.teacher_from: %s, %s, weights %s",
        *(teacher.source, _size(teacher.network), teacher.digest[:12]),
    )
    return Lesson(teacher, LOSSES[section.loss](), section.weight)


def _size(network: nn.Module) -> str:
    parameters = sum(each.numel() for each in network.parameters())
    return f"{parameters:,} parameters" if parameters else "run by onnxruntime"


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
        if path.exists() and knows_its_network(path):
            what = "a folder, whose run says" if path.is_dir() else "an .onnx, which says"
            raise ConfigError(
                f"objective.teacher is given, but objective.teacher_from {path} is {what} of which network "
                "its weights are: leave objective.teacher out"
            )
        network = section.teacher.model_dump() | {
            "embedding_size": config.backbone.embedding_size,
            "image_size": data.image_size,
            "channels": data.channels,
            "options_key": "objective.teacher.options",
        }
    elif path.exists() and not knows_its_network(path):
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
        except (CheckpointError, DataError, MissingExtraError) as error:
            raise type(error)(f"objective.teacher_from: {error}") from error
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
