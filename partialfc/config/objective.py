"""The section objective: what a run trains the backbone for, one variant for each objective."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field

from partialfc.config.distill import DistillConfig
from partialfc.config.occlusion import OcclusionConfig
from partialfc.config.pfe import PFEConfig
from partialfc.config.section import Section


class ClassificationConfig(Section):
    """The margin softmax of `head` over all classes, and the losses beside it.

    Built by training/builders/objectives.py, `build_classification`.
    """

    name: Literal["classification"] = Field("classification", description="Which objective.")


ObjectiveConfig = Annotated[
    ClassificationConfig | DistillConfig | OcclusionConfig | PFEConfig, Discriminator("name")
]


def has_head(objective: ObjectiveConfig) -> bool:
    """Whether it trains the centres of a head."""
    alone = isinstance(objective, DistillConfig) and objective.alone
    return not alone and not isinstance(objective, PFEConfig)


def rows_of_image(objective: ObjectiveConfig) -> int:
    """How many embeddings of an image of the batch the head is given."""
    return 2 if isinstance(objective, OcclusionConfig) and objective.unmasked else 1
