"""PartialFC: the sharded, sampled margin softmax as one module."""

import copy
import logging
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from partialfc.distributed.accelerator import is_accelerator
from partialfc.distributed.device import usable_device
from partialfc.head import step
from partialfc.head.agreement import agree_on_batch
from partialfc.head.arguments import above, one_of, whole
from partialfc.head.attached import attach_gradient
from partialfc.head.centres import ShardedCentres
from partialfc.head.dtypes import check_dtypes, math_dtype_of
from partialfc.head.kernels.buffers import Pool
from partialfc.head.kernels.compiled import outside_graphs, worth_compiling
from partialfc.head.margin_rules import check_margin
from partialfc.head.margins.base import Margin
from partialfc.head.sampling import sample_size
from partialfc.head.softmax import Softmax
from partialfc.head.surroundings import check_surroundings, outside_modes, world_of
from partialfc.head.weights import weights_of_shard
from partialfc.head.whose import KEY

log = logging.getLogger(__name__)


class PartialFC(ShardedCentres):
    """A margin softmax over `num_classes` centres, sharded by class over the ranks of a process group.

    `head(embeddings [B, D], labels [B])` is the mean loss over the valid samples of the global batch, the
    same number on every rank. Backward gives each rank the gradient of its own embeddings, times the world
    size, so that the averaging of DistributedDataParallel makes the backbone's gradients those of one process
    on the whole batch. The centres' gradient is never stored: a RowSGD or RowAdamW on the head computes and
    applies it in its step.

    In training a step touches the centres of the batch's classes and a sample of the others, `sample_rate`
    of all centres together; in eval mode all of them. Partial FC, An et al. 2022 (arXiv:2203.15565).

    Build the head after torch.distributed.init_process_group, and keep it out of DistributedDataParallel,
    which would overwrite every shard with rank 0's. Between steps it may change its device, and its row
    optimizer goes with it; `half`, `to(dtype)` and their like are a ValueError. Between backward
    (torch.autograd.grad counts too) and the row optimizer's step the batch waits in the head: `zero_grad` of
    the head or of the optimizer drops it, that of a module around the head does not. Errors: a backward after
    the centres have moved, a second derivative, and torch.utils.checkpoint around the head in training. A
    factor on the loss scales the centres' gradient too; that of a torch.amp.GradScaler is taken out by
    `scaler.step(optimizer)`.

    Labels are best given on the CPU: the sampling runs there, and labels on a GPU cost a synchronisation.

    Args:
        embedding_size (int): D, the numbers in an embedding; at least 1.
        num_classes (int): C, the classes of all ranks together; at least 1.
        margin (Margin): How logits follow from cosines, such as `ArcFace()`. It may keep buffers, which are
            saved with the head, but no parameters.
        sample_rate (float): r, the part of the centres that takes part in a training step, in (0, 1]. The
            batch's classes count towards it, and all of them take part even if they are more. Which others
            do is drawn from (seed, step), the same at any number of ranks. Default 1.
        weight_dtype (torch.dtype): How centres are stored: float32 (default), float64 or bfloat16. bfloat16
            halves the memory; updates round at random, up or down with the odds that keep them right on
            average, so the small ones are not lost.
        compute_dtype (torch.dtype): What the matrix products run in: float32 (default), float64 or bfloat16,
            which uses AMX or tensor cores. All else runs in float64 if this is float64, else in float32. A
            product in bfloat16 sums in float32 and rounds its result to bfloat16, once a chunk; on a GPU the
            one that the embeddings' gradient comes from stays in float32.
        gather_dtype (torch.dtype | None): What embeddings are exchanged in: None (default) for their own
            dtype, or bfloat16 or float16, which halve the bytes of float32.
        seed (int): At least 0, the same on every rank: the key of the first centres and of every sample of
            negatives. Default 0.
        sparse_grad (bool): Leave in `weight.grad` a sparse COO tensor of the rows that took part, for any
            optimizer that takes such gradients, in place of a row optimizer. Default False.
        compile (bool | None): Run the element-wise parts through torch.compile, which takes some 40 s the
            first time; None (default) decides by the size of a step. Where there is no compiler it warns
            once and runs them uncompiled.
        class_weights (Tensor | ArrayLike | None): [C], or [C_l] of this rank's classes alone: what a
            sample of each class counts in the mean loss, at least 0, times its own weight. They are not saved
            with the head. None (default): all count the same.
        device (torch.device | str | int | None): Where the centres, class weights and the margin's buffers
            are; None (default) for torch's default device. First values are the same on each, and sent there
            in pieces. `meta`: the centres have no values and take no memory until `load_state_dict(state,
            assign=True)`, or `to_empty` and then `load_state_dict` or `reset_parameters`.
        process_group (torch.distributed.ProcessGroup | None): The ranks that share the classes; None
            (default) for the default group, or this process alone where there is none.

    Attributes:
        weight (Parameter): [C_l, D], this rank's centres. `state_dict` brings them up to date; before reading
            them otherwise, call the optimizer's `flush`. `load_state_dict` raises ValueError for the state of
            another rank, number of ranks or class count, and on several ranks for a weight without its
            `_extra_state`, which says whose it is.
        shard (ClassShard): The range of classes that they are.
        step (int): How many training forwards there were: the key of the next sample; saved with the head.
        last_target_cos (Tensor): [N], the cosine of each sample of the last global batch to its own centre.
        last_norm (Tensor): [N], the norms of its embeddings.
        math_dtype (torch.dtype): What all but the matrix products runs in: float32 or float64.
        compiled (bool): Whether the element-wise parts run through torch.compile.
        world (World): The ranks of the process group.

    Raises:
        ValueError: for an argument of another type or out of its range, a device that this machine lacks, or
            a margin whose logits `compute_dtype` cannot hold or exceed its own bound.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        *,
        margin: Margin,
        sample_rate: float = 1.0,
        weight_dtype: torch.dtype = torch.float32,
        compute_dtype: torch.dtype = torch.float32,
        gather_dtype: torch.dtype | None = None,
        seed: int = 0,
        sparse_grad: bool = False,
        compile: bool | None = None,
        class_weights: Tensor | npt.ArrayLike | None = None,
        device: torch.device | str | int | None = None,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        embedding_size = whole("embedding_size", embedding_size, least=1)
        num_classes = whole("num_classes", num_classes, least=1)
        sample_rate = above("sample_rate", sample_rate, 0.0, at_most=1.0)
        check_dtypes(weight=weight_dtype, compute=compute_dtype, gather=gather_dtype)
        seed = whole("seed", seed, least=0)
        one_of("sparse_grad", sparse_grad, (False, True))
        one_of("compile", compile, (None, False, True))
        world = world_of(process_group)
        check_margin(margin, compute_dtype)
        place = usable_device("device", device)
        super().__init__(
            embedding_size,
            num_classes,
            world=world,
            weight_dtype=weight_dtype,
            math_dtype=math_dtype_of(compute_dtype),
            seed=seed,
            sparse_grad=sparse_grad,
            device=place,
        )
        for_buffers = torch.device("cpu") if place.type == "meta" else place  # see head/moving.py
        self.sample_rate = sample_rate
        self.margin = margin if place.type == "meta" else margin.to(place)
        self.compute_dtype = compute_dtype
        self.gather_dtype = gather_dtype
        taking_part = sample_size(len(self.shard), sample_rate) * embedding_size
        worth_it = worth_compiling(taking_part, narrow=torch.bfloat16 in (weight_dtype, compute_dtype))
        self.compiled = worth_it if compile is None else compile
        if worth_it and not self.compiled:
            log.info(
                "compile=False: this head is large, and a step takes two to four times as long uncompiled"
            )
        self.pool = Pool()
        self.step = 0
        self.last_target_cos = torch.empty(0, device=for_buffers)
        self.last_norm = torch.empty(0, device=for_buffers)
        self._last_rows: npt.NDArray[np.int64] | None = np.empty(0, np.int64)
        self._last_targets = np.empty(0, np.int64)
        sizes = (embedding_size, num_classes, sample_rate, seed)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", None, persistent=False)
        given = None
        if class_weights is not None:
            of_shard, given = weights_of_shard(class_weights, self.shard, self.math_dtype)
            self.class_weights = of_shard.to(for_buffers)
        about = (*sizes, repr(margin), weight_dtype, compute_dtype, gather_dtype, given)
        self._digest = zlib.crc32(repr(about).encode())

    @outside_graphs
    def forward(self, embeddings: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """The mean loss over the valid samples of all ranks. Every rank calls it together.

        Args:
            embeddings (Tensor): [B, D] of float32, float64, bfloat16 or float16 on the head's device; B may
                differ between ranks, and be 0. Their gradient has their dtype.
            labels (Tensor): [B] int64, global class ids; -1 ignores a sample.
            weights (Tensor | None): [B] of a floating-point dtype, finite and at least 0, on any device: what
                each sample counts in the mean, sum(weights · losses) / sum(weights) over all ranks. A sample
                of weight 0 moves nothing, but its class takes part. All ranks give weights, or none does.

        Returns:
            Tensor: A scalar, the same on every rank; 0 where no sample is valid, or all weights are 0.

        Raises:
            LabelError: on every rank together, for a label outside 0..num_classes-1 that is not -1.
            ValueError: for a wrong type, shape, dtype or device; on every rank together for a wrong weight.
            DistributedError: for another rank's wrong argument, or where ranks disagree on what this call is.
        """
        check_surroundings(self, self.world, training=self.training)
        self.check_whole()
        wants_gradient = torch.is_grad_enabled() and (
            self.weight.requires_grad or getattr(embeddings, "requires_grad", False)
        )
        with outside_modes(self.weight.device):
            loss, gradient = self._compute(embeddings, labels, weights, wants_gradient)
        if gradient is None:
            return loss
        pass_two, version = gradient.pass_two, self.centres_version
        return attach_gradient(
            loss,
            embeddings,
            self.weight,
            embedding_gradient=gradient.by_embeddings,
            weight_gradient=lambda scale: self.take_gradient(pass_two, scale, version),
        )

    @property
    def fused(self) -> bool:
        """Whether the parts of a step on single samples are compiled too: on an accelerator."""
        return self.compiled and is_accelerator(self.weight.device)

    @property
    def last_sample(self) -> Tensor:
        """[K], the local rows that took part in the last forward, ascending."""
        rows = np.arange(len(self.shard)) if self._last_rows is None else self._last_rows
        return torch.from_numpy(rows)

    @property
    def last_rows(self) -> npt.NDArray[np.int64] | None:
        """`last_sample` on the host as it is kept: None where all rows took part."""
        return self._last_rows

    @property
    def last_counts(self) -> tuple[int, int]:
        """How many of this rank's centres took part in the last forward, as positives and as negatives."""
        targets = self._last_targets  # ascending
        positives = min(len(targets), 1) + int(np.count_nonzero(np.diff(targets)))
        return positives, (len(self.shard) if self._last_rows is None else len(self._last_rows)) - positives

    def get_extra_state(self) -> dict[str, Any]:
        return {"step": self.step, KEY: self.whose}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.step = state["step"]

    def extra_repr(self) -> str:
        return (
            f"embedding_size={self.embedding_size}, num_classes={self.shard.num_classes}, "
            f"sample_rate={self.sample_rate}, classes {self.shard.start}..{self.shard.stop - 1} here"
        )

    def _compute(
        self, embeddings: Tensor, labels: Tensor, weights: Tensor | None, wants_gradient: bool
    ) -> tuple[Tensor, step.LossGradient | None]:
        """A batch's loss and, if wanted, its gradient; keeps what lasts until the next batch."""
        world, shard = self.world, self.shard
        agreed = agree_on_batch(
            world,
            embeddings,
            labels,
            weights,
            embedding_size=self.embedding_size,
            num_classes=shard.num_classes,
            device=self.weight.device,
            mode=(self.training << 1) | wants_gradient,
            head_digest=self._digest,
        )
        gathered = step.gather(
            world,
            embeddings,
            agreed,
            gather_dtype=self.gather_dtype,
            math_dtype=self.math_dtype,
            fused=self.fused,
        )
        samples, targets = step.targets_here(shard, gathered.labels)
        rows = self.rows(self._participating_rows(gathered.labels))
        target_rows = self.rows(targets)
        centres = step.target_centres(target_rows, fused=self.fused)
        batch = step.local_batch(
            world,
            gathered,
            samples,
            targets,
            centres,
            rows,
            class_weights=None if self.class_weights is None else self.class_weights[target_rows.index],
            seed=self.seed,
            step=self.step,
            fused=self.fused,
        )
        self._last_rows, self._last_targets = rows.rows, batch.target_columns
        self.last_target_cos, self.last_norm = batch.samples.cos, gathered.norm
        if self.training:
            self.margin.update(batch.samples)
            self.step += 1
        return step.forward(
            world,
            Softmax(self._margin_now(), self.compute_dtype, self.compiled, self.fused, self.pool),
            gathered,
            batch,
            centres,
            rows,
            taken=self.kept_bytes(),
            wants_gradient=wants_gradient,
        )

    def _participating_rows(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
        """The global batch's labels [N] -> the local rows [K] that take part; None: all, as in eval mode."""
        if not self.training:
            return None
        return step.participating_rows(
            self.shard, labels, sample_rate=self.sample_rate, seed=self.seed, step=self.step
        )

    def _margin_now(self) -> Margin:
        """The margin with its state as it is: pass 2 of this batch may come after another batch moves it."""
        return copy.deepcopy(self.margin) if any(True for _ in self.margin.buffers()) else self.margin
