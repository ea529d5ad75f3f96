"""The sections of the config: keys, defaults, bounds, and the rules between keys.

Values are kept as they were given; what follows from them is a property.
"""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, JsonValue, model_validator

from partialfc.config.margin import ArcFaceConfig, MarginConfig
from partialfc.config.metrics import MetricsConfig
from partialfc.config.section import ConfigPath, Section, default_variant
from partialfc.training.schedule import Shape

Dtype = Literal["float32", "float64", "bfloat16"]
Beta = Annotated[float, Field(ge=0, lt=1)]


def _check_channels(value: object) -> object:
    if isinstance(value, bool | float):  # Literal compares by ==, and True == 1.0 == 1
        raise ValueError("must be 1 or 3")
    return value


def _check_betas(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("must be a list of two numbers")
    return value


class RunConfig(Section):
    """The run itself."""

    dir: ConfigPath = Field(description="Folder for checkpoints, logs and the resolved config.")
    seed: int = Field(
        0, ge=0, lt=2**63, description="Seed of everything random: weights, sampling, data order."
    )


class AugmentConfig(Section):
    """Random changes to each training image; all off by default."""

    flip: bool = Field(False, description="Mirror left to right with probability one half.")
    shift: float = Field(0.0, ge=0, le=1, description="Largest shift, as a fraction of the image's size.")
    scale: float = Field(0.0, ge=0, le=0.9, description="Largest relative change of size: 0.1 is 0.9 to 1.1.")
    rotate: float = Field(0.0, ge=0, le=180, description="Largest rotation, in degrees, either way.")
    fill: int | None = Field(
        None, ge=0, le=255, description="Value of uncovered pixels; null: the mean of the image's edges."
    )
    brightness: float = Field(
        0.0, ge=0, le=1, description="Largest relative change of all values: 0.2 is 0.8 to 1.2."
    )
    contrast: float = Field(
        0.0, ge=0, le=1, description="Largest relative change of the distance from mid-grey."
    )
    saturation: float = Field(
        0.0, ge=0, le=1, description="Largest relative change of a colour's distance from its grey."
    )
    low_resolution: float = Field(
        0.0, ge=0, le=1, description="Probability that an image is shrunk and enlarged again."
    )
    low_resolution_size: float = Field(
        0.25, gt=0, le=1, description="The smallest size that it is shrunk to, as a fraction of image_size."
    )


class DataConfig(Section):
    """The training images."""

    train: ConfigPath = Field(description="A RecordIO file (.rec), or a folder with a folder per class.")
    num_classes: int | None = Field(
        None, ge=1, description="Number of classes C, at least the data's; null: the data's."
    )
    image_size: int = Field(112, ge=1, description="Height and width of the backbone's input, in pixels.")
    channels: Annotated[Literal[1, 3], BeforeValidator(_check_channels)] = Field(
        3, description="3 for RGB, 1 for grey."
    )
    loader: Literal["auto", "plain", "dali"] = Field(
        "auto",
        description="dali: NVIDIA DALI decodes, on the GPU where there is one; plain: worker processes do; "
        "auto: dali where it is installed and the run is on a GPU.",
    )
    workers: int = Field(
        0,
        ge=0,
        description="Loader processes per rank, and DALI's threads; 0 reads in the training process itself.",
    )
    max_bad_records: int = Field(
        0,
        ge=0,
        description="How many undecodable records a rank may skip, each replaced by the next; one more ends "
        "the run.",
    )
    augment: AugmentConfig = AugmentConfig()
    timeout_seconds: float = Field(
        120.0, gt=0, description="Seconds to wait for a batch before the loader is called stuck."
    )


class BackboneConfig(Section):
    """The network that turns images into embeddings."""

    name: str = Field(
        pattern=r"^([\w-]+|[\w.]+:[\w.]+)$",
        description="A backbone that partialfc knows, or 'module:callable' for your own.",
    )
    embedding_size: int = Field(512, ge=1, description="Size D of the embedding.")
    options: dict[str, JsonValue] = Field({}, description="Further keyword arguments of the backbone.")
    compile: bool = Field(False, description="Run the backbone through torch.compile.")
    channels_last: bool = Field(False, description="Keep images in channels-last memory order.")
    weights: ConfigPath | None = Field(None, description="State dict that the backbone starts from.")


class HeadConfig(Section):
    """The sharded classifier: one centre per class."""

    margin: MarginConfig = Field(ArcFaceConfig(), description="The margin of the target's logit.")
    sample_rate: float = Field(
        1.0, gt=0, le=1, description="Fraction of the centres that take part in a step; positives always do."
    )
    weight_dtype: Dtype = Field("float32", description="How the centres are stored.")
    compute_dtype: Dtype = Field("float32", description="What the head's matrix products run in.")
    momentum_dtype: Literal["float32", "float64", "bfloat16", "int8"] | None = Field(
        None,
        description="How the centres' momentum is stored with sgd; null: float32, or float64 where the head "
        "computes in it. bfloat16 centres and bfloat16 or int8 momentum round at random, without bias.",
    )
    gather_dtype: Literal["bfloat16"] | None = Field(
        None, description="What embeddings are exchanged in; null: as the backbone gives them."
    )
    compile: bool | None = Field(
        None,
        description="Compile the head's element-wise parts; null: where a step is large enough to repay it.",
    )
    unsampled: Literal["dense", "frozen"] | None = Field(
        None,
        description="Centres that sit a step out. dense: move as in plain SGD, by momentum and weight decay; "
        "frozen: stay; null: dense with sgd, frozen with adamw, which knows no other way.",
    )


class _OptimizerConfig(Section):
    name: str  # declared here to come first in a saved config
    lr: float = Field(gt=0, description="Peak learning rate.")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay.")
    head_lr: float | None = Field(None, gt=0, description="Peak learning rate of the centres; null: lr.")
    head_weight_decay: float | None = Field(
        None, ge=0, description="Weight decay of the centres; null: weight_decay."
    )

    @property
    def effective_head_lr(self) -> float:
        return self.lr if self.head_lr is None else self.head_lr

    @property
    def effective_head_weight_decay(self) -> float:
        return self.weight_decay if self.head_weight_decay is None else self.head_weight_decay


class SGDConfig(_OptimizerConfig):
    """SGD with momentum; weight decay is added to the gradient."""

    name: Literal["sgd"] = Field("sgd", description="Which optimizer.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum.")


class AdamWConfig(_OptimizerConfig):
    """AdamW; weight decay is decoupled from the gradient."""

    name: Literal["adamw"] = Field(description="Which optimizer.")
    betas: Annotated[tuple[Beta, Beta], Field(strict=False), BeforeValidator(_check_betas)] = Field(
        (0.9, 0.999), description="Decay of the running averages of the gradient and of its square."
    )
    eps: float = Field(1e-8, gt=0, description="Added to the denominator.")


OptimizerConfig = Annotated[SGDConfig | AdamWConfig, Discriminator("name"), default_variant("sgd")]


class ScheduleConfig(Section):
    """The learning rate over the run, as a fraction of its peak."""

    name: Shape = Field("polynomial", description="The shape of the decay after the warm-up.")
    warmup_steps: int | None = Field(None, ge=0, description="Length of the linear warm-up in steps.")
    warmup_epochs: float | None = Field(
        None, ge=0, description="Length of the warm-up in epochs, in place of warmup_steps; neither: none."
    )
    power: float = Field(2.0, gt=0, description="Power of the polynomial decay.")
    final_lr_ratio: float = Field(0.0, ge=0, le=1, description="Where the decay ends, over the peak.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.warmup_steps is not None and self.warmup_epochs is not None:
            raise ValueError(
                "give at most one of warmup_steps and warmup_epochs, "
                f"got {self.warmup_steps} and {self.warmup_epochs}"
            )
        if self.name != "polynomial" and self.power != 2.0:
            raise ValueError(f"power is {self.power}, but only name: polynomial uses it; name is {self.name}")
        if self.name == "constant" and self.final_lr_ratio != 0.0:
            raise ValueError(f"final_lr_ratio is {self.final_lr_ratio}, but name: constant does not decay")
        return self


class TrainConfig(Section):
    """The training loop."""

    batch_size: int = Field(ge=1, description="Samples per micro-batch over all ranks together.")
    epochs: float | None = Field(None, gt=0, description="Length in passes over the data; or give steps.")
    steps: int | None = Field(None, ge=1, description="Length in optimizer steps; or give epochs.")
    accumulation: int = Field(1, ge=1, description="Micro-batches per optimizer step.")
    clip_norm: float | None = Field(
        5.0, gt=0, description="Largest norm of the backbone's gradient; null does not clip."
    )
    amp: Literal["auto", "bfloat16"] | None = Field(
        None,
        description="Autocast the backbone to this type; auto: to bfloat16 where the device multiplies in it "
        "natively; null: no autocast.",
    )
    threads: int | None = Field(
        None, ge=1, description="Torch CPU threads per process; null: torch's own choice."
    )
    log_every: int = Field(20, ge=1, description="Optimizer steps between log lines.")
    max_nonfinite_steps: int = Field(
        10, ge=1, description="Steps in a row with a non-finite loss or gradient, skipped, that end the run."
    )
    deterministic: bool = Field(False, description="Let torch use deterministic algorithms only.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where there is one.")
    timeout_seconds: float = Field(
        600.0, gt=0, description="Seconds that a collective waits for the slowest rank before it fails."
    )
    tensorboard: bool = Field(False, description="Write TensorBoard event files into run.dir.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            got = "neither" if self.epochs is None else f"epochs {self.epochs} and steps {self.steps}"
            raise ValueError(f"give exactly one of epochs and steps, null for the other, got {got}")
        return self

    @property
    def samples_per_step(self) -> int:
        """Samples per optimizer step over all ranks."""
        return self.batch_size * self.accumulation


class _Periodic(Section):
    every_steps: int | None = Field(
        None,
        ge=1,
        description="Optimizer steps from one to the next; neither every_steps nor every_epochs: "
        "after each epoch.",
    )
    every_epochs: float | None = Field(
        None,
        gt=0,
        description="Epochs from one to the next; neither every_steps nor every_epochs: after each epoch.",
    )

    @model_validator(mode="after")
    def _check_period(self) -> Self:
        if self.every_steps is not None and self.every_epochs is not None:
            raise ValueError(
                "give at most one of every_steps and every_epochs, "
                f"got {self.every_steps} and {self.every_epochs}"
            )
        return self


class CheckpointConfig(_Periodic):
    """When checkpoints are written, besides one at the end, and which are kept."""

    keep_last: int = Field(2, ge=1, description="How many of the newest checkpoints to keep.")
    keep_best: bool = Field(True, description="Keep the one that verifies best as well.")
    resume: str = Field(
        "auto",
        min_length=1,
        description="auto: from run.dir's latest checkpoint if there is one; never: from scratch; "
        "else the path of a checkpoint.",
    )


class VerificationConfig(_Periodic):
    """Pair verification during training, besides once at the end."""

    at_start: bool = Field(False, description="Verify once before training, too: the untrained figures.")
    sets: dict[str, ConfigPath] = Field({}, description="Pair files (.bin) by the name to report them under.")
    folds: int = Field(10, ge=2, description="Folds of the cross-validated threshold.")
    flip: bool = Field(False, description="Add the embedding of the mirrored image.")
    batch_size: int = Field(256, ge=1, description="Images per forward pass on a rank.")
    best: str | None = Field(
        None, description="The set whose score decides which checkpoint is best; null: the first."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.best is not None and self.best not in self.sets:
            raise ValueError(f"best is {self.best!r}, but sets has {', '.join(self.sets) or 'no entry'}")
        return self

    @property
    def best_set(self) -> str | None:
        """The name of the set that decides which checkpoint is best; None without sets."""
        return next(iter(self.sets), None) if self.best is None else self.best


class Config(Section):
    """Everything that decides a run."""

    run: RunConfig
    data: DataConfig
    backbone: BackboneConfig
    head: HeadConfig = HeadConfig()
    optimizer: OptimizerConfig = Field(description="How the weights move.")
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig
    checkpoint: CheckpointConfig = CheckpointConfig()
    verification: VerificationConfig = VerificationConfig()
    metrics: MetricsConfig = MetricsConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.optimizer.name == "adamw" and self.head.unsampled == "dense":
            raise ValueError(
                "head.unsampled: must be frozen with optimizer.name: adamw, got 'dense'; "
                "leave it out, or take optimizer.name: sgd"
            )
        if self.optimizer.name == "adamw" and self.head.momentum_dtype is not None:
            raise ValueError(
                f"head.momentum_dtype: must be null with optimizer.name: adamw, got "
                f"{self.head.momentum_dtype!r}; leave it out, or take optimizer.name: sgd"
            )
        for unit in ("steps", "epochs"):
            warmup, length = getattr(self.schedule, f"warmup_{unit}"), getattr(self.train, unit)
            if warmup is not None and length is not None and warmup >= length:
                raise ValueError(
                    f"schedule.warmup_{unit}: must be less than train.{unit}, {length}, got {warmup}"
                )
        return self

    @property
    def unsampled(self) -> Literal["dense", "frozen"]:
        """head.unsampled, with null resolved by the optimizer."""
        return self.head.unsampled or ("frozen" if self.optimizer.name == "adamw" else "dense")
