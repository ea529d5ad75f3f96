"""The section objective for probabilistic embeddings."""

from typing import Literal

from pydantic import Field

from partialfc.config.section import ConfigPath, Section


class PFEConfig(Section):
    """How sure the embeddings of a trained backbone are, learned from genuine pairs, Shi and Jain 2019.

    Built by training/builders/pfe.py, `build_pfe`.
    """

    name: Literal["pfe"] = Field(description="Which objective.")
    backbone_from: ConfigPath = Field(
        description="Folder of a run or of a checkpoint whose backbone is taken, and stays as it is; or a "
        "file of weights. The section backbone, data.image_size and data.channels must be as they were there."
    )
