"""PartialFC: the sharded, sampled margin softmax as one module."""

import logging
import zlib
from types import EllipsisType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from partialfc.distributed.device import usable_device
from partialfc.head.arguments import above, at_least, one_of, whole
from partialfc.head.attached import attach_gradient
from partialfc.head.dtypes import check_dtypes, math_dtype_of
from partialfc.head.kernels.buffers import Pool
from partialfc.head.kernels.compiled import outside_graphs, worth_compiling
from partialfc.head.margin_rules import check_fits, check_margin, check_successor, take_over
from partialfc.head.margins.base import Margin
from partialfc.head.rows import Kind
from partialfc.head.sampled_softmax import SETTLED_AFTER, SampledSoftmax
from partialfc.head.sampling import sample_size
from partialfc.head.surroundings import check_surroundings, outside_modes, world_of
from partialfc.head.weights import margins_of_shard, weights_of_shard
from partialfc.head.whose import KEY

log = logging.getLogger(__name__)


class PartialFC(SampledSoftmax):
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
        class_margins (Tensor | ArrayLike | None): [C], or [C_l] of this rank's classes alone, each in
            [0, pi): what stands for each class in place of the margin of `ArcFace`, `CosFace` and others that
            take it. They are not saved with the head. None (default): all have the margin's own.
        interclass_filter (float | None): In training, negatives whose cosine to the sample is above this take
            no part in its loss: in data with wrong labels they are likely the same class. In [-1, 1). The
            `interclass_filtering_threshold` of Partial FC's published code, which sets their logits to 0
            instead. None (default): all take part.
        logit_correction (bool): Add to a sampled negative's logit the log of 1 / its probability to be drawn,
            so that the sampled denominator is right on average. Default False, as in Partial FC.
        device (torch.device | str | int | None): Where the centres, class weights and the margin's buffers
            are; None (default) for torch's default device. First values are the same on each, and sent there
            in pieces. `meta`: the centres have no values and take no memory until `load_state_dict(state,
            assign=True)`, or `to_empty` and then `load_state_dict` or `reset_parameters`.
        process_group (torch.distributed.ProcessGroup | None): The ranks that share the classes; None
            (default) for the default group, or this process alone where there is none.

    Attributes:
        weight (Parameter): [C_l, D], this rank's centres; [C_l, k·D] with k sub-centres. `state_dict` brings
            them up to date; before reading them otherwise, call the optimizer's `flush`. `load_state_dict`
            raises ValueError for the state of another rank, number of ranks or class count, and on several
            ranks for a weight without its `_extra_state`, which says whose it is.
        bias (Parameter | None): [C_l], what is added to each class's logit, with `Softmax(bias=True)`.
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
        class_margins: Tensor | npt.ArrayLike | None = None,
        interclass_filter: float | None = None,
        logit_correction: bool = False,
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
        check_margin(margin, compute_dtype, class_margins=class_margins is not None)
        check_fits(margin, sparse_grad=sparse_grad, class_margins=class_margins)
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
            kind=Kind(margin.normalises_centres, margin.sub_centers),
            bias=margin.bias,
        )
        for_buffers = torch.device("cpu") if place.type == "meta" else place  # see head/moving.py
        self.margin = margin if place.type == "meta" else margin.to(place)
        self.compute_dtype = compute_dtype
        self.gather_dtype = gather_dtype
        self.logit_correction = one_of("logit_correction", logit_correction, (False, True))
        self.pool = Pool()
        self.step = 0
        self._forwards_of_margin = SETTLED_AFTER
        self.last_target_cos = torch.empty(0, device=for_buffers)
        self.last_norm = torch.empty(0, device=for_buffers)
        self._last_rows = np.empty(0, np.int64)
        self._last_targets = np.empty(0, np.int64)
        self.register_buffer("class_weights", None, persistent=False)
        self.register_buffer("class_margins", None, persistent=False)
        told: list[object] = []  # what ranks compare of them
        if class_weights is not None:
            of_shard, given = weights_of_shard(class_weights, self.shard, self.math_dtype)
            self.class_weights = of_shard.to(for_buffers)
            told.append(("class_weights", given))
        if class_margins is not None:
            of_shard, given = margins_of_shard(
                class_margins, self.shard, self.math_dtype, below=margin.largest_class_margin
            )
            self.class_margins = of_shard.to(for_buffers)
            told.append(("class_margins", given))
        self._about = (embedding_size, num_classes, seed, weight_dtype, compute_dtype, gather_dtype, *told)
        self.reconfigure(sample_rate=sample_rate, interclass_filter=interclass_filter)
        taking_part = sample_size(len(self.shard), self.sample_rate) * self.weight.shape[1]
        worth_it = worth_compiling(taking_part, narrow=torch.bfloat16 in (weight_dtype, compute_dtype))
        self.compiled = worth_it if compile is None else compile
        if worth_it and not self.compiled:
            log.info(
                "compile=False: this head is large, and a step takes two to four times as long uncompiled"
            )

    def reconfigure(
        self,
        *,
        margin: Margin | None = None,
        sample_rate: float | None = None,
        interclass_filter: float | EllipsisType | None = ...,
        settled: bool = False,
    ) -> None:
        """Change between steps what the next ones do, on every rank alike; what is not given stays.

        Args:
            margin (Margin | None): Another margin of the same class, with other settings; it goes on from the
                state of the present one.
            sample_rate (float | None): In (0, 1].
            interclass_filter (float | None): A cosine in [-1, 1), or None for no filter.
            settled (bool): Whether many steps will use this margin, so that what is compiled of a margin is
                compiled for it at once. Default False: after some dozens of steps without another one.

        Raises:
            ValueError: for an argument of another type or out of its range, a margin of another class or one
                that would need other centres. Nothing is changed then.
        """
        if margin is not None and margin is not self.margin:
            has_class_margins = self.class_margins is not None
            check_margin(margin, self.compute_dtype, class_margins=has_class_margins)
            check_successor(margin, self.margin, class_margins=has_class_margins)
        if sample_rate is not None:
            sample_rate = above("sample_rate", sample_rate, 0.0, at_most=1.0)
        if interclass_filter is not ... and interclass_filter is not None:
            interclass_filter = at_least("interclass_filter", interclass_filter, -1.0, below=1.0)
            if not self.margin.normalises_centres:
                raise ValueError(
                    f"interclass_filter is {interclass_filter}, a cosine, but margin {self.margin!r} counts "
                    "the centres' norms too: it must be None"
                )
        if margin is not None:
            if repr(margin) != repr(self.margin):
                self._forwards_of_margin = SETTLED_AFTER if settled else 0
            take_over(margin, self.margin)
            self.margin = margin
        if sample_rate is not None:
            self.sample_rate = sample_rate
        if interclass_filter is not ...:
            self.interclass_filter = interclass_filter
        settings = (self.sample_rate, self.interclass_filter, self.logit_correction, repr(self.margin))
        self._digest = zlib.crc32(repr((*self._about, *settings)).encode())

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

    def get_extra_state(self) -> dict[str, Any]:
        return {"step": self.step, KEY: self.whose}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.step = state["step"]

    def extra_repr(self) -> str:
        return (
            f"embedding_size={self.embedding_size}, num_classes={self.shard.num_classes}, "
            f"sample_rate={self.sample_rate}, classes {self.shard.start}..{self.shard.stop - 1} here"
        )
