"""The objective that the config's `objective` names, from the parts that objectives are made of."""

from collections.abc import Callable
from functools import partial

from torch import nn

from partialfc.config import DistillConfig, OcclusionConfig
from partialfc.training.builders.class_margins import build_class_margins
from partialfc.training.builders.class_pool import build_class_pool
from partialfc.training.builders.distill import build_lesson, warn_of_no_head
from partialfc.training.builders.head import build_head, warn_of_low_lambda_g
from partialfc.training.builders.losses import build_losses, warn_of_few_pairs
from partialfc.training.builders.occlusion import build_network
from partialfc.training.builders.optimizers import build_head_optimizer
from partialfc.training.builders.parts import Parts
from partialfc.training.builders.pfe import build_pfe
from partialfc.training.builders.stages import margin_with
from partialfc.training.objectives.classification import Classification
from partialfc.training.objectives.distill import Alone, Beside
from partialfc.training.objectives.objective import Objective
from partialfc.training.objectives.occlusion import Occlusion


def build_head_or_pool(backbone: nn.Module, parts: Parts) -> Objective:
    """What `head.name` says: a head with what goes with it, or a class pool in its place."""
    build = build_class_pool if parts.config.head.name == "pool" else build_classification
    return build(backbone, parts)


def build_classification(backbone: nn.Module, parts: Parts) -> Classification:
    """The head, its optimizer and the losses beside it."""
    config = parts.config
    head = build_head(
        config.head,
        embedding_size=config.backbone.embedding_size,
        num_classes=parts.num_classes,
        seed=config.run.seed,
        device=parts.device,
        class_margins=build_class_margins(config.head, parts.source, parts.num_classes),
    )
    optimizer = build_head_optimizer(config, head)
    if parts.world.rank == 0:
        warn_of_low_lambda_g(config.head)
        warn_of_few_pairs(config, parts.num_classes)
    losses = build_losses(config.losses, head)
    return Classification(backbone, head, optimizer, losses, partial(margin_with, config))


def build_occlusion(backbone: nn.Module, parts: Parts) -> Occlusion:
    """The margin softmax, with parts of the images hidden from the backbone."""
    section = parts.config.objective
    assert isinstance(section, OcclusionConfig)
    inner = build_classification(backbone, parts)
    network = build_network(section, backbone, parts.config, parts.world)
    return Occlusion(inner, network, segmentation=section.segmentation)


def build_distillation(backbone: nn.Module, parts: Parts) -> Objective:
    """The teacher's lesson, beside the margin softmax or alone."""
    section = parts.config.objective
    assert isinstance(section, DistillConfig)
    inner = None if section.alone else build_classification(backbone, parts)
    lesson = build_lesson(section, parts.config, parts.device)
    if inner is not None:
        return Beside(inner, lesson)
    if parts.world.rank == 0:
        warn_of_no_head(parts.config)
    return Alone(backbone, lesson)


OBJECTIVES: dict[str, Callable[[nn.Module, Parts], Objective]] = {
    "classification": build_head_or_pool,
    "distill": build_distillation,
    "occlusion": build_occlusion,
    "pfe": build_pfe,
}


def build_objective(backbone: nn.Module, parts: Parts) -> Objective:
    """By `objective.name`. Collective; draws first values from torch's generator, which is seeded."""
    return OBJECTIVES[parts.config.objective.name](backbone, parts)
