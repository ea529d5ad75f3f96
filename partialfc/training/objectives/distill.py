"""Distillation: embeddings come to a teacher's, beside another objective or with nothing beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from partialfc.distillation import DistillationLoss
from partialfc.distillation.teacher import Teacher
from partialfc.distributed.world import World
from partialfc.errors import CheckpointError, DistributedError
from partialfc.training.objectives.around import Around
from partialfc.training.objectives.objective import Objective, Outputs

TERM = "distillation"


class Lesson:
    """A teacher, the loss to it, and the weight of that.

    The teacher is no part of a checkpoint, which holds where it came from and the digest of its weights.
    """

    def __init__(self, teacher: Teacher, loss: DistillationLoss, weight: float) -> None:
        self.teacher = teacher
        self.loss = loss
        self.weight = weight
        self._agreed = False

    def __call__(self, images: Tensor, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss without its weight, a scalar with gradient; collective."""
        if not self._agreed:
            self._agree()
        value: Tensor = self.loss(embeddings, self.teacher(images), labels)
        return value

    def _agree(self) -> None:
        """Before the first batch; collective. Raises DistributedError where ranks have different teachers."""
        digests = self.loss.world.gather_texts(self.teacher.digest)
        if others := [rank for rank, digest in enumerate(digests) if digest != digests[0]]:
            raise DistributedError(
                f"ranks {others} have another teacher than rank 0 from {self.teacher.source}: is it still in "
                "training? Name one of its checkpoints in objective.teacher_from"
            )
        self._agreed = True

    def values(self) -> dict[str, Any]:
        """What a checkpoint says of the teacher."""
        return {"teacher": {"source": str(self.teacher.source), "digest": self.teacher.digest}}

    def check(self, values: Mapping[str, Any]) -> None:
        """Raises CheckpointError where a checkpoint is of a run with another teacher."""
        saved = values["teacher"]
        if saved["digest"] != self.teacher.digest:
            raise CheckpointError(
                f"its teacher was {saved['source']} (weights {saved['digest'][:12]}), and that of this run "
                f"is {self.teacher.source} (weights {self.teacher.digest[:12]}), which computes something "
                "else: set objective.teacher_from to the former, or start in another run.dir"
            )


class Beside(Around):
    """A lesson beside another objective, such as the margin softmax."""

    def __init__(self, inner: Objective, lesson: Lesson) -> None:
        super().__init__(inner, inner.network)
        self.lesson = lesson
        self.terms = (*(inner.terms or ("head",)), TERM)

    def loss(self, images: Tensor, outputs: Outputs, labels: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        whole, values = self.inner.loss(images, outputs, labels)
        taught = self.lesson(images, self.embeddings(outputs), labels)
        return whole + self.lesson.weight * taught, [*(values or [whole.detach()]), taught.detach()]

    @property
    def worlds(self) -> Sequence[World]:
        return [*self.inner.worlds, self.lesson.loss.world]

    def values(self) -> dict[str, Any]:
        return self.inner.values() | self.lesson.values()

    def restore_state(
        self, values: Mapping[str, Any], replicated: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        self.lesson.check(values)
        self.inner.restore_state(values, replicated)


class Alone(Objective):
    """A lesson with nothing beside it: no head, and no class."""

    terms = (TERM,)

    def __init__(self, backbone: nn.Module, lesson: Lesson) -> None:
        super().__init__(backbone, backbone)
        self.lesson = lesson
        if any(parameter.dtype == torch.float64 for parameter in backbone.parameters()):
            self.math_dtype = torch.float64

    def loss(self, images: Tensor, outputs: Outputs, labels: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        self.saw(outputs)
        taught = self.lesson(images, outputs, labels)
        return self.lesson.weight * taught, [taught.detach()]

    @property
    def worlds(self) -> Sequence[World]:
        return [self.lesson.loss.world]

    def values(self) -> dict[str, Any]:
        return self.lesson.values()

    def restore_state(
        self, values: Mapping[str, Any], replicated: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        self.lesson.check(values)
