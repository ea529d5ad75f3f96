"""The section finetune: what a run takes over from another one, and which parts of the backbone train."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from partialfc.config.section import ConfigPath, Section

MEANS, RANDOM = "means", "random"


def _check_patterns(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise ValueError('must be a list of names or patterns such as ["layer1", "*.bn1"]')
    return value


Patterns = Annotated[
    tuple[Annotated[str, Field(strict=True, min_length=1)], ...],
    Field(strict=False),
    BeforeValidator(_check_patterns),
]
Factor = Annotated[float, Field(gt=0)]


class LoraConfig(Section):
    """Low-rank updates of weights in the place of the weights: Hu et al. 2021 (arXiv:2106.09685).

    Added by training/builders/finetune.py, `prepare_backbone`.
    """

    rank: int = Field(ge=1, description="Rank r of an update; the smaller side of the weight at most.")
    patterns: Patterns = Field(
        ("*",),
        min_length=1,
        examples=[["layer1", "layer2"]],
        description="Names or patterns, as in freeze, of the Linear and Conv2d layers that get one. A layer "
        "that freeze names while others train gets one only by a pattern without wildcards.",
    )
    alpha: float | None = Field(
        None, gt=0, description="An update is multiplied by alpha / rank; null: by 1, as if alpha were rank."
    )


class FinetuneConfig(Section):
    """Training a trained network further, on other classes or for other images.

    Names are those of the backbone's modules and parameters with dots between levels, and patterns those of a
    shell, where * also stands for dots: layer1, layer?.0, *.bias, *. Naming a module names all within it. A
    pattern that matches nothing is an error.

    Used by training/builders/finetune.py, `prepare_backbone` and `begin_centres`.
    """

    backbone_from: ConfigPath | None = Field(
        None,
        description="Where the backbone's weights come from: a run, a checkpoint, or a file as for "
        "backbone.weights; null: that key says it.",
    )
    head_from: str = Field(
        MEANS,
        min_length=1,
        description="Where the first centres come from. means: each is the mean embedding of the class's "
        "images, for which all are embedded once, by all ranks together; random: as in any other run; else "
        "the folder of a run or a checkpoint: classes of the same name begin at its centres, others at "
        "random.",
    )
    freeze: Patterns = Field(
        (),
        description="Names or patterns of what stays as it is: parameters, running statistics of BatchNorm, "
        "and dropout, which does nothing there.",
    )
    lr_scale: dict[str, Factor] = Field(
        {},
        description="By name or pattern, what the learning rate of these parameters is multiplied by; of "
        "several that match a parameter the last one counts. That of the centres is optimizer.head_lr.",
        examples=[{"layer1": 0.1}],
    )
    lora: LoraConfig | None = Field(
        None, description="Low-rank updates of the layers' weights, which then do not train themselves."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.head_from.startswith("~"):
            raise ValueError(
                f"head_from must be {MEANS}, {RANDOM} or a path without the '~' that only shells expand, "
                f"got {self.head_from!r}"
            )
        return self
