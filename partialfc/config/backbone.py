"""The section backbone: the network below the head."""

from typing import Self

from pydantic import Field, JsonValue, model_validator

from partialfc.config.section import ConfigPath, Section


class BackboneConfig(Section):
    """The network that turns images into embeddings.

    Built by training/builders/backbone.py, `build_backbone_from`.
    """

    name: str = Field(
        pattern=r"^([\w-]+|[\w.]+:[\w.]+)$",
        examples=["iresnet50", "timm:resnet18", "module:Class"],
        description="A backbone that partialfc knows, 'timm:NAME' for one of timm, or 'module:callable' for "
        "your own.",
    )
    embedding_size: int = Field(512, ge=1, description="Size D of the embedding.")
    options: dict[str, JsonValue] = Field(
        {}, description="Further keyword arguments of the backbone.", examples=[{"dropout": 0.4}]
    )
    compile: bool = Field(False, description="Run the backbone through torch.compile.")
    checkpointing: bool = Field(
        False,
        description="Drop the activations within the backbone's blocks in the pass forward, and compute them "
        "again in the pass back: less memory, and about a third more time; the results are the same to the "
        "bit.",
    )
    channels_last: bool = Field(False, description="Keep images and weights in channels-last memory order.")
    weights: ConfigPath | None = Field(
        None,
        description="What the backbone starts from: a file of torch.save or safetensors with a state dict, "
        "alone or in a training checkpoint; or the folder of a run. For 'timm:NAME' also timm's own weights, "
        "without the embedding layer. Nothing in it is run.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.checkpointing and self.compile:
            raise ValueError(
                "checkpointing and compile are both true: torch.compile cannot run a block twice exactly; "
                "set one of them to false"
            )
        return self
