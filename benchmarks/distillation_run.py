"""One training of benchmarks/distillation.py: a small network, with a teacher or without."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from margin_run import (
    EMBEDDING_SIZE,
    LR,
    MOMENTUM,
    SIZE,
    WEIGHT_DECAY,
    Images,
    Task,
    as_input,
    batches,
    load,
    scores,
)
from torch import Tensor, nn

import partialfc
from partialfc.backbones import build_backbone
from partialfc.distillation.teacher import Teacher

WIDE = {"widths": (64, 96), "blocks": (1, 2)}
NARROW = {"widths": (16, 32), "blocks": (1, 1)}
VARG: dict[str, Any] = {
    "backbone": "vargfacenet",
    "options": (("widths", (16, 16, 32, 64)), ("blocks", (1, 1, 1))),
}
MARGIN = {"scale": 10.0, "margin": 0.35}
ANGULAR, L2 = "angular", "l2"
LOSSES: dict[str, Callable[[], partialfc.DistillationLoss]] = {
    ANGULAR: partialfc.AngularDistillation,
    L2: partialfc.FeatureDistillation,
}
WEIGHTS = {ANGULAR: 7.0, L2: 0.1}  # VarGFaceNet's; and one that suits norms of about 8
TEACHER, ALONE = "the teacher", "alone"


@dataclass(frozen=True)
class Student:
    """What a run differs in.

    against: the one whose figures its own are compared with. loss: of LOSSES, None without a teacher.
    head: whether the margin softmax is there. lengths: how many times as long as a student's. after: the
    one of the same seed whose weights it begins with.
    """

    against: str = ALONE
    loss: str | None = None
    head: bool = True
    lengths: int = 1
    after: str | None = None
    backbone: str = "convnet"
    options: tuple[tuple[str, tuple[int, ...]], ...] = tuple(NARROW.items())

    @property
    def settings(self) -> str:
        """All of it in one line."""
        options = ", ".join(f"{name} {list(value)}" for name, value in self.options)
        parts = ["CosFace"] if self.head else []
        if self.loss:
            parts.append(f"{WEIGHTS[self.loss]:g}·{self.loss}")
        begun = f", begun with {self.after}" if self.after else ""
        return f"{self.backbone}, {options}: {' + '.join(parts)}{begun}"


STUDENTS = {
    TEACHER: Student(TEACHER, lengths=2, options=tuple(WIDE.items())),
    ALONE: Student(),
    "angular beside the head": Student(loss=ANGULAR),
    "angular, no head": Student(loss=ANGULAR, head=False),
    "l2 beside the head": Student(loss=L2),
    "vargfacenet alone": Student("vargfacenet alone", **VARG),
    "vargfacenet, angular beside": Student("vargfacenet alone", loss=ANGULAR, **VARG),
    "angular, second generation": Student(
        "angular beside the head", loss=ANGULAR, after="angular beside the head"
    ),
    "angular, twice as long": Student("angular, second generation", loss=ANGULAR, lengths=2),
    "alone, twice as long": Student(lengths=2),
    "alone, five times as long": Student("angular, twice as long", lengths=5),  # in about the same CPU time
    "angular, five times as long": Student("alone, five times as long", loss=ANGULAR, lengths=5),
    "l2, no head": Student(loss=L2, head=False),
}


def run(task: Task, name: str, seed: int, *, teacher_seed: int) -> dict[str, Any]:
    """The figures of one training, on one thread."""
    torch.set_num_threads(1)
    _, unseen = load(task.data, task.classes, task.unseen)
    network, seconds = trained(task, name, seed, teacher_seed)
    with torch.inference_mode():
        figures = scores(network(as_input(unseen.pixels)), unseen.labels)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"parameters": parameters, **figures, "cpu_seconds": round(seconds, 1)}


@cache  # small networks, which others begin with or learn from
def trained(task: Task, name: str, seed: int, teacher_seed: int) -> tuple[nn.Module, float]:
    """The network that a run ends with, in evaluation mode, and the seconds that it took."""
    student = STUDENTS[name]
    teacher = None
    if student.loss is not None:
        network, _ = trained(task, TEACHER, teacher_seed, teacher_seed)
        teacher = Teacher(network, embedding_size=EMBEDDING_SIZE, image_size=SIZE, channels=1)
    torch.manual_seed(seed)
    backbone = build_backbone(
        student.backbone,
        embedding_size=EMBEDDING_SIZE,
        image_size=SIZE,
        channels=1,
        options=dict(student.options),
    )
    if student.after is not None:
        before, _ = trained(task, student.after, seed, teacher_seed)
        backbone.load_state_dict(before.state_dict())
    images, _ = load(task.data, task.classes, task.unseen)
    started = time.process_time()
    train(backbone, images, student, teacher, steps=task.steps * student.lengths, seed=seed)
    return backbone.eval(), time.process_time() - started


def train(
    backbone: nn.Module, images: Images, student: Student, teacher: Teacher | None, *, steps: int, seed: int
) -> None:
    """The seed is that of the initial weights, the order and the augmentation."""
    classes = int(images.labels.max()) + 1
    head = partialfc.PartialFC(
        EMBEDDING_SIZE, classes, margin=partialfc.CosFace(**MARGIN), seed=seed, compile=False
    )
    settings: dict[str, Any] = {"lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY}
    optimizers = [torch.optim.SGD(backbone.parameters(), **settings)]
    if student.head:
        optimizers.append(partialfc.RowSGD(head, **settings))
    distillation = None if student.loss is None else LOSSES[student.loss]()
    for factor, inputs, labels in batches(images, steps=steps, seed=seed):
        embeddings = backbone(inputs)
        loss: Tensor = head(embeddings, labels) if student.head else embeddings.new_zeros(())
        if teacher is not None and student.loss is not None and distillation is not None:
            loss = loss + WEIGHTS[student.loss] * distillation(embeddings, teacher(inputs))
        for optimizer in optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = LR * factor
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
