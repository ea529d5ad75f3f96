"""The objective distill: embeddings come to a teacher's."""

from typing import Literal

from pydantic import Field, JsonValue

from partialfc.config.section import LARGEST_WEIGHT, ConfigPath, Section


class TeacherConfig(Section):
    """Which network a file of weights is of. The folder of a run says it itself: then leave this out.

    Built by training/builders/distill.py, `build_teacher`.
    """

    name: str = Field(
        pattern=r"^([\w-]+|[\w.]+:[\w.]+)$",
        examples=["iresnet100", "module:Class"],
        description="As backbone.name: a backbone that partialfc knows, or 'module:callable' for your own.",
    )
    options: dict[str, JsonValue] = Field({}, description="Further keyword arguments of that backbone.")


class DistillConfig(Section):
    """Embeddings come to those of a trained network, the teacher, which never changes.

    By angular distillation (VarGFaceNet, Yan et al. 2019) or the distance between features.

    Built by training/builders/objectives.py, `build_distillation`.
    """

    name: Literal["distill"] = Field(description="Which objective.")
    teacher_from: ConfigPath = Field(
        description="The teacher: the folder of a run, whose newest checkpoint is taken, or of one "
        "checkpoint; an .onnx, such as InsightFace's, which onnxruntime runs on the CPU; or a file of "
        "torch.save or safetensors with weights. It takes images of this run's size "
        "and channels and gives embeddings of this run's size. Nothing in it is run.",
    )
    weight: float = Field(
        gt=0,
        le=LARGEST_WEIGHT,
        description="What the loss to the teacher is multiplied by. VarGFaceNet has 7 with loss: angular; "
        "with loss: l2 divide that by the mean squared norm of the teacher's embeddings.",
    )
    loss: Literal["angular", "l2"] = Field(
        "angular",
        description="angular: the squared distance between the two embeddings with norm 1; l2: between them "
        "as they are.",
    )
    alone: bool = Field(
        False,
        description="Train by the teacher alone: no head, no labels; head, losses and stages take no part. "
        "Else the loss to the teacher is added to the margin softmax and the losses beside it.",
    )
    teacher: TeacherConfig | None = Field(
        None, description="The network of teacher_from, where that is a file of weights."
    )
    trust: tuple[str, ...] = Field(
        (),
        strict=False,
        description="Modules that may be imported for the backbone of teacher_from, where it is a run with "
        "one of your own; that of backbone.name may be anyway.",
        examples=[["my_networks"]],
    )
