"""Losses between the embeddings of a student and its teacher: of their directions, or of them as they are."""

import functools
from abc import abstractmethod

import torch
import torch.distributed as dist
from torch import Tensor

from partialfc.head.agreement import LOSS, agree_on_batch
from partialfc.head.attached import loss_of_rows
from partialfc.head.kernels.compiled import outside_graphs
from partialfc.head.surroundings import world_of
from partialfc.losses.geometry import unit
from partialfc.losses.of_ranks import LossOfRanks, of_all_samples, valid_rows


class DistillationLoss(LossOfRanks):
    """A mean, over the samples of all ranks, of how far a student's embedding is from its teacher's.

    `loss(embeddings [B, D], teacher [B, D])` is the same number on every rank. Backward gives each rank the
    gradient of its own embeddings, times the world size, so that the averaging of DistributedDataParallel
    makes the student's gradients those of one process on the whole batch. The teacher's embeddings get none.
    It computes in float32, or in float64 where embeddings are. No label is needed.

    A subclass gives `terms`. It is a module without parameters.

    Args:
        process_group (torch.distributed.ProcessGroup | None): The ranks of the global batch; None (default)
            for the default group, or this process alone where there is none.

    Attributes:
        world (World): The ranks of the process group.

    Raises:
        ValueError: for a process_group that is none.
    """

    def __init__(self, *, process_group: dist.ProcessGroup | None = None) -> None:
        super().__init__(world_of(process_group), None)

    @abstractmethod
    def terms(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Embeddings of the same V images, [V, D] each -> a term for each image [V]."""

    @outside_graphs
    def forward(self, embeddings: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """The loss over the samples of all ranks. Every rank calls it together.

        Args:
            embeddings (Tensor): [B, D], the student's, of float32, float64, bfloat16 or float16, of the same
                dtype and D on every rank; B may differ between ranks, and be 0. Their gradient has their
                dtype.
            teacher (Tensor): [B, D], the teacher's of the same images, of any floating-point dtype.
            labels (Tensor | None): [B] int64, of which only -1 counts: it leaves a sample out, as everywhere
                in this library. None (default): every sample takes part.

        Returns:
            Tensor: A scalar, the same on every rank; 0, with a gradient of 0, where there is no sample.

        Raises:
            LabelError: on every rank together, for a label below -1.
            ValueError: for a wrong type, shape, dtype or device.
            DistributedError: for another rank's wrong argument, or where ranks disagree on what this call is.
        """
        self.check()
        compute = functools.partial(self._compute, embeddings, teacher, labels)
        return loss_of_rows(embeddings, self.device_for(embeddings), compute)

    def _compute(
        self, embeddings: Tensor, teacher: Tensor, labels: Tensor | None, wants_gradient: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The loss, and its gradient by this rank's embeddings [B, D] times W if wanted; collective."""
        agreed = agree_on_batch(
            self.world,
            embeddings,
            _all_valid(embeddings) if labels is None else labels,
            None,
            embedding_size=None,
            num_classes=None,
            device=self.device_for(embeddings),
            mode=(self.training << 1) | wants_gradient,
            head_digest=self._digest,
            method=LOSS,
            problem=_problem_of_teacher(teacher, embeddings),
        )
        dtype = self.math_dtype_for(embeddings)
        student = valid_rows(embeddings.detach(), agreed).to(dtype).requires_grad_(wants_gradient)
        number = max(1, sum(agreed.counts))
        with torch.set_grad_enabled(wants_gradient):
            whole = self.terms(student, valid_rows(teacher.detach(), agreed).to(dtype)).sum()
        value = self.world.all_reduce_sum(whole.detach()) / number
        if not wants_gradient:
            return value, None
        (gradient,) = torch.autograd.grad(whole, student)
        return value, of_all_samples(gradient * (self.world.size / number), agreed, embeddings)


class AngularDistillation(DistillationLoss):
    """Angular distillation: the mean of || x / ||x|| - t / ||t|| ||^2 over the samples of the global batch.

    x is the student's embedding of an image and t the teacher's: the term is 2 - 2 cos of the angle between
    them. Yan, Zhao, Xu, Zhang, Wang and Su 2019, "VarGFaceNet: An Efficient Variable Group Convolutional
    Neural Network for Lightweight Face Recognition" (arXiv:1910.04985), equation 5. Its weight beside the
    margin softmax is alpha there, and 7. The paper has it as an equivalent of (1 - cos)^2, equation 4, the
    angular distillation of Duong, Luu, Quach and Le 2019, "ShrinkTeaNet" (arXiv:1905.10620), which has a
    quarter of this term's square: its gradient fades as the student comes near.

    An embedding of norm 0 has no direction: it counts as the zero vector, and gets no gradient.

    See :class:`partialfc.DistillationLoss` for its argument and its call.
    """

    def terms(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (unit(student) - unit(teacher)).square().sum(1)


class FeatureDistillation(DistillationLoss):
    """Feature distillation: the mean of || x - t ||^2 over the samples of the global batch.

    x is the student's embedding of an image and t the teacher's, both with their norms: the L2 distance
    between features that VarGFaceNet (arXiv:1910.04985, section on angular distillation) compares with. The
    term is a sum over D numbers and grows with the square of the teacher's norms, so its weight is far
    smaller than that of :class:`partialfc.AngularDistillation`: divide by the teacher's mean squared norm.

    See :class:`partialfc.DistillationLoss` for its argument and its call.
    """

    def terms(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (student - teacher).square().sum(1)


def _all_valid(embeddings: object) -> Tensor:
    """Labels [B] of samples that all take part."""
    rows = len(embeddings) if isinstance(embeddings, Tensor) and embeddings.dim() else 0
    return torch.zeros(rows, dtype=torch.int64, device="cpu")


def _problem_of_teacher(teacher: object, embeddings: object) -> ValueError | None:
    """What is wrong with the teacher's embeddings; None: nothing."""
    if not isinstance(teacher, Tensor):
        return ValueError(f"teacher is a {type(teacher).__name__}; it must be a torch.Tensor, its embeddings")
    if not teacher.is_floating_point():
        return ValueError(f"teacher.dtype is {teacher.dtype}; it must be a floating-point dtype")
    if not isinstance(embeddings, Tensor):  # which has an error of its own
        return None
    if teacher.shape != embeddings.shape:
        return ValueError(
            f"teacher.shape is {tuple(teacher.shape)}; it must be {tuple(embeddings.shape)}, that of "
            "embeddings: both are of the same images, and of the same size D"
        )
    if teacher.device != embeddings.device:
        return ValueError(f"teacher.device is {teacher.device}; it must be embeddings', {embeddings.device}")
    return None
