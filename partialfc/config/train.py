"""The section train: how long, on what device and how carefully the loop runs."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from partialfc.config.section import Section

TrackerName = Literal["tensorboard", "trackio", "wandb", "mlflow"]


class TrainConfig(Section):
    """The training loop.

    Used by training/run.py, `train`, and training/loop.py, `Trainer`.
    """

    batch_size: int = Field(ge=1, description="Samples per micro-batch over all ranks together.")
    epochs: float | None = Field(
        None,
        gt=0,
        description="Length of the run in passes over the data. Give either this or steps.",
    )
    steps: int | None = Field(
        None,
        ge=1,
        description="Length of the run in optimizer steps. Give either this or epochs.",
    )
    accumulation: int = Field(1, ge=1, description="Micro-batches per optimizer step.")
    clip_norm: float | None = Field(
        5.0,
        gt=0,
        description="Largest norm of the backbone's gradient, which is clipped to it; null: no clipping.",
    )
    amp: Literal["auto", "bfloat16", "float16"] | None = Field(
        None,
        description="Type that the backbone is autocast to; auto: bfloat16 where the device has "
        "instructions for it, else no autocast; null: no autocast. float16 is for GPUs without bfloat16, "
        "such as V100 and T4; the loss is then scaled, and a step whose gradient overflows is skipped.",
    )
    threads: int | None = Field(
        None, ge=1, description="Torch CPU threads per process; null: torch's own choice."
    )
    log_every: int = Field(20, ge=1, description="Optimizer steps between log lines.")
    max_nonfinite_steps: int = Field(
        10,
        ge=1,
        description="A step with a non-finite loss or gradient is skipped; so many in a row end the run. "
        "Overflows of float16, which lower the loss scale, do not count.",
    )
    sync_batchnorm: bool = Field(
        False,
        description="Let BatchNorm layers normalise with the statistics of the batch of all ranks, in place "
        "of each rank's part: the same run on any number of ranks, for two small exchanges a layer.",
    )
    deterministic: bool = Field(
        False,
        description="Let torch use deterministic algorithms only, so that the same run gives the same bits "
        "on a GPU too; slower there. It sets CUBLAS_WORKSPACE_CONFIG.",
    )
    device: str = Field(
        "auto",
        description="Where to train: cpu, or the kind of accelerator by torch's name, such as cuda (ROCm's "
        "too), xpu or npu; auto: the accelerator that the machine has, else cpu.",
    )
    timeout_seconds: float = Field(
        600.0, gt=0, description="Seconds that a rank waits for the others before the run fails."
    )
    trackers: tuple[TrackerName, ...] = Field(
        (),
        strict=False,
        description="Programs that are given the numbers of metrics.jsonl too, each of its own extra; where "
        "they keep them, their own environment variables say.",
    )
    tracker_project: str = Field(
        "partialfc",
        min_length=1,
        max_length=128,
        description="What trackers call the runs that they show together: a project; in MLflow an "
        "experiment.",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_tensorboard(cls, section: object) -> object:
        """`tensorboard: true` was the key before there were other trackers."""
        if not isinstance(section, dict) or not isinstance(section.get("tensorboard"), bool):
            return section
        rest = {key: value for key, value in section.items() if key != "tensorboard"}
        named = rest.get("trackers", ())
        if section["tensorboard"] and isinstance(named, list | tuple) and "tensorboard" not in named:
            rest["trackers"] = [*named, "tensorboard"]
        return rest

    @field_validator("trackers")
    @classmethod
    def _check_trackers(cls, trackers: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(trackers)) < len(trackers):
            raise ValueError("must name each tracker once")
        return trackers

    @field_validator("tracker_project")
    @classmethod
    def _check_project(cls, project: str) -> str:
        if project != project.strip() or not project.isprintable() or set(project) & set("/\\#?%:"):
            raise ValueError("must be printable, without blanks at its ends and without / \\ # ? % :")
        return project

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        if not re.fullmatch("[a-z]+", device):
            raise ValueError(
                "must be auto, cpu, or the name of a kind of accelerator without a number, such as cuda"
            )
        return device

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            got = "neither" if self.epochs is None else f"epochs {self.epochs} and steps {self.steps}"
            raise ValueError(f"give exactly one of epochs and steps, got {got}")
        return self

    @property
    def samples_per_step(self) -> int:
        """Samples per optimizer step over all ranks."""
        return self.batch_size * self.accumulation
