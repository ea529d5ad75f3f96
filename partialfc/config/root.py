"""The whole config: its sections, and the rules between keys of different sections."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from partialfc.config.backbone import BackboneConfig
from partialfc.config.checkpoint import CheckpointConfig
from partialfc.config.data import DataConfig
from partialfc.config.finetune import RANDOM, FinetuneConfig
from partialfc.config.head import HeadConfig
from partialfc.config.losses import LossConfigs
from partialfc.config.metrics import MetricsConfig
from partialfc.config.objective import ClassificationConfig, ObjectiveConfig, has_head
from partialfc.config.optimizer import OptimizerConfig
from partialfc.config.run import RunConfig
from partialfc.config.schedule import ScheduleConfig
from partialfc.config.section import RuleError, Section
from partialfc.config.stages import StageConfigs
from partialfc.config.train import TrainConfig
from partialfc.config.verification import VerificationConfig


class Config(Section):
    """Everything that decides a run.

    Used by training/run.py, `train`.
    """

    run: RunConfig
    data: DataConfig
    backbone: BackboneConfig
    objective: ObjectiveConfig = Field(
        ClassificationConfig(), description="What the backbone is trained for."
    )
    head: HeadConfig = HeadConfig()
    finetune: FinetuneConfig | None = Field(
        None,
        description="What a run takes over from another one, and which parts train; null: no fine-tuning.",
    )
    losses: LossConfigs = Field((), description="A list of losses that are added to the head's.")
    optimizer: OptimizerConfig = Field(description="How the weights move.")
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig
    stages: StageConfigs = Field(
        (), description="Parts of the run in which settings of the head and the losses differ."
    )
    checkpoint: CheckpointConfig = CheckpointConfig()
    verification: VerificationConfig = VerificationConfig()
    metrics: MetricsConfig = MetricsConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.optimizer.name == "adamw" and self.head.unsampled == "dense":
            raise RuleError(
                "head.unsampled",
                "must be frozen with optimizer.name: adamw, got 'dense'; leave it out, or take "
                "optimizer.name: sgd",
                "optimizer.name",
            )
        if self.optimizer.name == "adamw" and self.head.momentum_dtype is not None:
            raise RuleError(
                "head.momentum_dtype",
                f"must be null with optimizer.name: adamw, got {self.head.momentum_dtype!r}; leave it out, "
                "or take optimizer.name: sgd",
                "optimizer.name",
            )
        if self.finetune is not None:
            self._check_finetune(self.finetune)
        if self.objective.name == "pfe":
            self._check_pfe()
        if self.objective.name == "distill" and self.objective.alone:
            self._check_head_rates("objective.alone", "true")
        self._check_pool()
        batch, each = self.train.batch_size, self.data.images_per_identity
        if each is not None and batch % each:
            raise RuleError(
                "data.images_per_identity",
                f"must divide train.batch_size, {batch}, got {each}; a batch of "
                f"{batch // each * each or each} would have whole identities",
                "train.batch_size",
            )
        for unit in ("steps", "epochs"):
            warmup, length = getattr(self.schedule, f"warmup_{unit}"), getattr(self.train, unit)
            if warmup is not None and length is not None and warmup >= length:
                raise RuleError(
                    f"schedule.warmup_{unit}",
                    f"must be less than train.{unit}, {length}, got {warmup}; for so short a run set it "
                    f"lower, such as schedule.warmup_{unit}={_tenth(length)}",
                    f"train.{unit}",
                )
        return self

    def _check_finetune(self, finetune: FinetuneConfig) -> None:
        """The backbone has one beginning, and centres begin somewhere only where classes have some."""
        if self.objective.name == "pfe":
            raise RuleError(
                "finetune",
                "must be left out with objective.name: pfe, which trains no backbone",
                "objective.name",
            )
        pool = self.head.name == "pool"
        if finetune.head_from != RANDOM and (pool or not has_head(self.objective)):
            without = "head.name: pool" if pool else f"objective.name: {self.objective.name}, alone"
            raise RuleError(
                "finetune.head_from",
                f"must be {RANDOM} with {without}, where classes have no centres, got {finetune.head_from!r}",
                *(["head.name"] if pool else ["objective.name", "objective.alone"]),
            )
        if finetune.lora is not None and pool:
            raise RuleError(
                "finetune.lora",
                "must be null with head.name: pool, whose gallery network follows the weights",
                "head.name",
            )
        given = (self.backbone.weights, finetune.backbone_from)
        if None not in given:
            raise RuleError(
                "finetune.backbone_from",
                f"is {given[1]}, and backbone.weights is {given[0]}: the backbone has one beginning, so "
                "leave one of them out",
                "backbone.weights",
            )
        if given == (None, None):
            raise RuleError(
                "finetune",
                "a network to be fine-tuned must come from somewhere: give finetune.backbone_from, a run or "
                "a file of weights, or backbone.weights",
                "backbone.weights",
            )

    def _check_pfe(self) -> None:
        """It has no head, and learns from pairs of one class."""
        if self.head != HeadConfig() or self.losses or self.stages:
            named = "head" if self.head != HeadConfig() else "losses" if self.losses else "stages"
            raise RuleError(
                named,
                "must be left out with objective.name: pfe, which has no head; it learns from genuine pairs "
                "alone",
                "objective.name",
            )
        self._check_head_rates("objective.name", "pfe")
        if (self.data.images_per_identity or 1) < 2:
            raise RuleError(
                "data.sampler",
                "must be identities, with data.images_per_identity of at least 2, with objective.name: pfe, "
                "which learns from pairs of one class; set data.sampler=identities",
                "data.images_per_identity",
                "objective.name",
            )
        if self.verification.flip != "none":
            raise RuleError(
                "verification.flip",
                "must be none with objective.name: pfe, as Gaussians cannot be joined so; leave it out",
                "objective.name",
            )
        if self.backbone.weights is not None:
            raise RuleError(
                "backbone.weights",
                "must be null with objective.name: pfe, whose backbone is that of objective.backbone_from; "
                "leave it out",
                "objective.name",
            )

    def _check_head_rates(self, key: str, name: str) -> None:
        """What of the optimizer is for centres has no use without them, as where `key` is `name`."""
        for rate in ("head_lr", "head_weight_decay"):
            if (value := getattr(self.optimizer, rate)) is not None:
                raise RuleError(
                    f"optimizer.{rate}",
                    f"must be null with {key}: {name}, which has no centres to move, got {value:g}",
                    key,
                )

    def _check_pool(self) -> None:
        """The rules of head.name: pool."""
        pool, sampler, batch = self.head.pool, self.data.sampler, self.train.batch_size
        if (pool is not None) != (sampler == "half_identities"):
            raise RuleError(
                "data.sampler",
                f"must be half_identities with head.name: pool, and with no other, got {sampler} with "
                f"head.name: {self.head.name}",
                "head.name",
            )
        if pool is None:
            return
        self._check_head_rates("head.name", "pool")
        if batch % 4:
            raise RuleError(
                "train.batch_size", f"must be a multiple of 4 with head.name: pool, got {batch}", "head.name"
            )
        if 1 < pool.size < batch // 4:
            raise RuleError(
                "head.pool.size",
                f"must be at least {batch // 4}, the identities of a batch, got {pool.size:g}",
                "train.batch_size",
            )
        if self.losses:
            raise RuleError(
                "losses", "must be empty with head.name: pool, whose loss stands alone", "head.name"
            )
        if self.objective.name != "classification":
            raise RuleError(
                "objective.name",
                f"must be classification with head.name: pool, got {self.objective.name}",
                "head.name",
            )

    @property
    def initial_weights(self) -> tuple[str, Path] | None:
        """The key that says what the backbone starts from, and its value; None where it starts at random."""
        if self.finetune is not None and self.finetune.backbone_from is not None:
            return "finetune.backbone_from", self.finetune.backbone_from
        return None if self.backbone.weights is None else ("backbone.weights", self.backbone.weights)

    @property
    def unsampled(self) -> Literal["dense", "frozen"]:
        """head.unsampled; where it is null, what goes with the optimizer."""
        return self.head.unsampled or ("frozen" if self.optimizer.name == "adamw" else "dense")


def _tenth(length: float) -> str:
    """A tenth of a run's steps (whole) or epochs."""
    return str(length // 10) if isinstance(length, int) else f"{length / 10:g}"
