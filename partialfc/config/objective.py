"""The section objective: what a run trains the backbone for."""

from typing import Annotated, Literal

from pydantic import Discriminator

from partialfc.config.occlusion import OcclusionConfig
from partialfc.config.section import Section


class ClassificationConfig(Section):
    """The margin softmax of `head` over all classes, and the losses beside it.

    Built by training/builders/objectives.py, `build_classification`.
    """

    name: Literal["classification"] = "classification"


ObjectiveConfig = Annotated[ClassificationConfig | OcclusionConfig, Discriminator("name")]
