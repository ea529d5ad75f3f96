"""The section optimizer: one variant for each optimizer."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field

from partialfc.config.section import Section, default_variant

Beta = Annotated[float, Field(ge=0, lt=1)]


def _check_betas(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("must be a list of two numbers")
    return value


class _OptimizerConfig(Section):
    name: str  # declared here to come first in a saved config
    lr: float = Field(gt=0, description="Peak learning rate.")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay.")
    head_lr: float | None = Field(
        None,
        gt=0,
        description="Peak learning rate of the centres; null: the same as lr.",
    )
    head_weight_decay: float | None = Field(
        None, ge=0, description="Weight decay of the centres; null: the same as weight_decay."
    )

    @property
    def effective_head_lr(self) -> float:
        return self.lr if self.head_lr is None else self.head_lr

    @property
    def effective_head_weight_decay(self) -> float:
        return self.weight_decay if self.head_weight_decay is None else self.head_weight_decay


class SGDConfig(_OptimizerConfig):
    """SGD with momentum; weight decay is added to the gradient.

    Built by training/builders/optimizers.py, `build_network_optimizer` and `build_head_optimizer`.
    """

    name: Literal["sgd"] = Field("sgd", description="Which optimizer.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum.")


class AdamWConfig(_OptimizerConfig):
    """AdamW; weight decay is decoupled from the gradient.

    Built by training/builders/optimizers.py, `build_network_optimizer` and `build_head_optimizer`.
    """

    name: Literal["adamw"] = Field(description="Which optimizer.")
    betas: Annotated[tuple[Beta, Beta], Field(strict=False), BeforeValidator(_check_betas)] = Field(
        (0.9, 0.999),
        description="Share that the running averages of the gradient and of its square keep in a step.",
    )
    eps: float = Field(1e-8, gt=0, description="Added to the denominator.")


OptimizerConfig = Annotated[SGDConfig | AdamWConfig, Discriminator("name"), default_variant("sgd")]
