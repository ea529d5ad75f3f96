"""PartialFC: the sharded, sampled margin softmax as one module."""

import copy
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn

from partialfc.distributed.world import World
from partialfc.head import step
from partialfc.head.agreement import agree_on_batch
from partialfc.head.arguments import above, one_of, whole
from partialfc.head.attached import attach_gradient
from partialfc.head.gradient import BatchGradient, row_gradients, union_of_rows
from partialfc.head.initial import normal_rows
from partialfc.head.kernels.buffers import Pool
from partialfc.head.kernels.storage import Stored
from partialfc.head.loss import largest_bound
from partialfc.head.margins.base import Margin
from partialfc.head.optim.sparse import sparse_gradient
from partialfc.head.rows import Chunk, Rows, RowSource, index_of
from partialfc.head.sampling import sample_size
from partialfc.head.shard import ClassShard
from partialfc.head.softmax import Softmax
from partialfc.head.surroundings import check_surroundings

WEIGHT_DTYPES = (torch.float32, torch.float64, torch.bfloat16)
COMPUTE_DTYPES = (torch.float32, torch.float64, torch.bfloat16)
GATHER_DTYPES = (None, torch.bfloat16)
# From so many elements of participating centres on, compiling (some 40 s) pays within a few hundred steps.
WORTH_COMPILING = 1 << 24


class PartialFC(nn.Module):
    """A margin softmax over `num_classes` centres, sharded by class over the ranks of a process group.

    `head(embeddings [B, D], labels [B])` is the mean loss over the valid samples of the global batch, the
    same number on every rank; label -1 ignores a sample. Backward gives each rank the gradient of its own
    embeddings, times the world size, so that the averaging of DistributedDataParallel makes the backbone's
    gradients those of one process on the whole batch. The centres' gradient is never stored: a RowSGD or
    RowAdamW on the head computes and applies it in its step (or, with sparse_grad=True, `weight.grad` is a
    sparse COO tensor of the rows that took part, for any optimizer that takes such gradients).

    In training a step touches the centres of the batch's classes and a sample of the others, `sample_rate`
    of the shard in all; in eval mode all of them. Partial FC, An et al. 2022 (arXiv:2203.15565).

    Build the head after torch.distributed.init_process_group, and keep it out of DistributedDataParallel,
    which would overwrite every shard with rank 0's. Between backward (torch.autograd.grad counts too) and the
    row optimizer's step the batch waits in the head: `zero_grad` of the head or of the optimizer drops it,
    that of a module around the head does not. A factor on the loss, such as a GradScaler's, scales the
    centres' gradient too.

    Labels are best given on the CPU: the sampling runs there, and labels on a GPU cost a synchronisation.
    weight_dtype=bfloat16 halves the memory; updates round at random, up or down with the odds that keep them
    right on average, so the small ones are not lost. compute_dtype=bfloat16 runs the matrix products on AMX
    or tensor cores. gather_dtype=bfloat16 halves the bytes of the exchanged embeddings.

    compile: run the element-wise parts through torch.compile, which takes some 40 s the first time; None
    decides by the size of a step. Where there is no compiler it warns once and runs them uncompiled.

    Attributes: weight [C_l, D], this rank's centres (`state_dict` brings them up to date; before reading them
    otherwise, call the optimizer's `flush`); shard, the class range they are; step, how many training
    forwards there were (the sampling's key);
    last_sample [K], the local rows of the last forward; last_counts, how many of them were positives and how
    many negatives; last_target_cos [N] and last_norm [N], the target cosines and embedding norms of its
    global batch.
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
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        embedding_size = whole("embedding_size", embedding_size, least=1)
        num_classes = whole("num_classes", num_classes, least=1)
        sample_rate = above("sample_rate", sample_rate, 0.0, at_most=1.0)
        if not isinstance(margin, Margin):
            raise ValueError(f"margin is {margin!r}; it must be a partialfc Margin such as ArcFace()")
        if any(True for _ in margin.parameters()):
            raise ValueError(f"margin is {margin!r}; its parameters would get no gradient: use buffers")
        one_of("weight_dtype", weight_dtype, WEIGHT_DTYPES)
        one_of("compute_dtype", compute_dtype, COMPUTE_DTYPES)
        one_of("gather_dtype", gather_dtype, GATHER_DTYPES)
        seed = whole("seed", seed, least=0)
        one_of("sparse_grad", sparse_grad, (False, True))
        one_of("compile", compile, (None, False, True))
        if not isinstance(process_group, dist.ProcessGroup | None):
            raise ValueError(
                f"process_group is {process_group!r}; it must be None, for the default group, or a "
                "torch.distributed.ProcessGroup that this process is in"
            )
        if margin.logit_bound > largest_bound(compute_dtype):
            raise ValueError(
                f"margin {margin!r} has logits up to {margin.logit_bound:g}; in {compute_dtype} they may "
                f"reach {largest_bound(compute_dtype):g}: lower the scale, or use compute_dtype=torch.float64"
            )
        self.world = World.of(process_group)
        self.shard = ClassShard(num_classes, self.world.rank, self.world.size)
        self.embedding_size = embedding_size
        self.sample_rate = sample_rate
        self.seed = seed
        self.sparse_grad = sparse_grad
        self.margin = margin
        self.compute_dtype = compute_dtype
        self.gather_dtype = gather_dtype
        # Sums, norms and the loss are kept in this dtype whatever the GEMMs run in.
        self.math_dtype = torch.float64 if compute_dtype == torch.float64 else torch.float32
        self.weight = nn.Parameter(
            normal_rows(self.shard.start, self.shard.stop, embedding_size, seed=seed, dtype=weight_dtype)
        )
        self.step = 0
        taking_part = sample_size(len(self.shard), self.sample_rate)
        self.compiled = taking_part * embedding_size >= WORTH_COMPILING if compile is None else compile
        self.last_target_cos = torch.empty(0)
        self.last_norm = torch.empty(0)
        self._row_source: RowSource | None = None
        self._gradients: list[BatchGradient] = []
        self.pool = Pool()
        self._last_rows: npt.NDArray[np.int64] | None = np.empty(0, np.int64)
        self._last_targets = np.empty(0, np.int64)
        sizes = (embedding_size, num_classes, sample_rate, seed)
        about = (*sizes, repr(margin), weight_dtype, compute_dtype, gather_dtype)
        self._digest = zlib.crc32(repr(about).encode())
        self.register_state_dict_pre_hook(_flush_rows)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_rows_were_replaced)  # type: ignore[no-untyped-call]

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Embeddings [B, D] and global class ids [B] -> the global mean loss, a scalar.

        Raises LabelError, on every rank together, for a label outside 0..num_classes-1 that is not -1;
        ValueError for a wrong shape or dtype; DistributedError where ranks disagree on what this call is.
        """
        check_surroundings(self, self.world)
        if self._row_source is not None:
            self._row_source.check_whole()
        wants_gradient = torch.is_grad_enabled() and (
            self.weight.requires_grad or getattr(embeddings, "requires_grad", False)
        )
        # Autocast would run the head's own GEMMs in another dtype than it was told to.
        with torch.no_grad(), torch.autocast(self.weight.device.type, enabled=False):
            loss, gradient = self._compute(embeddings, labels, wants_gradient)
        if gradient is None:
            return loss
        by_centres = gradient.by_centres
        return attach_gradient(
            loss,
            embeddings,
            self.weight,
            embedding_gradient=gradient.by_embeddings,
            weight_gradient=lambda scale: self._backward(by_centres(scale)),
        )

    def attach(self, source: RowSource) -> None:
        """Called by a row optimizer: from now on it says what the rows are and consumes their gradients."""
        if self.sparse_grad:
            raise ValueError("sparse_grad is True, so this head leaves weight.grad to another optimizer")
        if self._row_source is not None:
            raise ValueError(
                "this head already has a row optimizer; a second one would apply gradients twice"
            )
        self._row_source = source

    @property
    def stored(self) -> Stored:
        """This rank's centres as they lie in memory."""
        return Stored(self.weight.detach())

    @property
    def last_sample(self) -> Tensor:
        rows = np.arange(len(self.shard)) if self._last_rows is None else self._last_rows
        return torch.from_numpy(rows)

    @property
    def last_counts(self) -> tuple[int, int]:
        """How many of this rank's centres took part in the last forward: as positives, as negatives."""
        targets = self._last_targets  # ascending
        positives = min(len(targets), 1) + int(np.count_nonzero(np.diff(targets)))
        return positives, (len(self.shard) if self._last_rows is None else len(self._last_rows)) - positives

    def current_rows(self, rows: npt.NDArray[np.int64] | None = None) -> Tensor:
        """Local rows [k] -> their centres [k, D] as they are now, in the dtype of the head's arithmetic."""
        return self.rows(rows).all()

    def rows(self, rows: npt.NDArray[np.int64] | None) -> Rows:
        """Local rows [K], ascending, as they are now; None: all of them."""
        index = index_of(rows, self.weight.device)
        velocity, owed = (None, None) if self._row_source is None else self._row_source.owed(index)
        return Rows(self.stored, velocity, owed, rows, index, self.math_dtype)

    def row_gradients(self) -> Iterator[tuple[Chunk, Tensor]]:
        """The rows that have a gradient, in chunks, each row once, and the gradient by their unit rows."""
        if self._gradients:
            yield from row_gradients(self._gradients, self.rows(union_of_rows(self._gradients)))

    def wait_for_gradients(self, stream: torch.cuda.Stream) -> None:
        """Let a stream wait for what `row_gradients` reads, and keep that memory until the stream has."""
        for gradient in self._gradients:
            gradient.hand_to(stream)

    def has_row_gradients(self) -> bool:
        return bool(self._gradients)

    def discard_row_gradients(self) -> None:
        for gradient in self._gradients:
            gradient.kept.release()
        self._gradients.clear()

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        self.discard_row_gradients()

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: the rows as they are now, without an optimizer, gradients or a group."""
        _flush_rows(self)
        return self.__dict__ | {"world": None, "_row_source": None, "_gradients": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """From a pickle: the head joins the default process group, where it must have its old rank."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.world, shard = World.of(), self.shard
        if (self.world.rank, self.world.size) != (shard.rank, shard.world_size):
            raise RuntimeError(
                f"this head was pickled on rank {shard.rank} of {shard.world_size}, and this process is rank "
                f"{self.world.rank} of {self.world.size}, so its shard would hold the wrong classes: pickle "
                "and load on the same ranks, or keep partialfc's checkpoints, which reshard"
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> "PartialFC":
        """A copy with the rows as they are now, in the same process group, without an optimizer."""
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__getstate__(), memo), world=self.world)
        return copied

    def get_extra_state(self) -> dict[str, Any]:
        return {"step": self.step}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.step = state["step"]

    def extra_repr(self) -> str:
        return (
            f"embedding_size={self.embedding_size}, num_classes={self.shard.num_classes}, "
            f"sample_rate={self.sample_rate}, classes {self.shard.start}..{self.shard.stop - 1} here"
        )

    def _compute(
        self, embeddings: Tensor, labels: Tensor, wants_gradient: bool
    ) -> tuple[Tensor, step.Gradient | None]:
        """A batch's loss and, if wanted, its gradient; keeps what the head shows of its last batch."""
        world, shard = self.world, self.shard
        agreed = agree_on_batch(
            world,
            embeddings,
            labels,
            embedding_size=self.embedding_size,
            num_classes=shard.num_classes,
            device=self.weight.device,
            mode=(self.training << 1) | wants_gradient,
            head_digest=self._digest,
        )
        gathered = step.gather(
            world, embeddings, *agreed, gather_dtype=self.gather_dtype, math_dtype=self.math_dtype
        )
        samples, targets = step.targets_here(shard, gathered.labels)
        rows = None
        if self.training:
            key = {"seed": self.seed, "step": self.step, "rank": world.rank}
            rows = step.participating_rows(targets, len(shard), sample_rate=self.sample_rate, **key)
        centres = step.target_centres(self.rows(targets))
        batch = step.local_batch(world, gathered.unit, samples, targets, centres, rows, len(shard))
        self._last_rows, self._last_targets = rows, batch.target_columns
        self.last_target_cos, self.last_norm = batch.target_cos, gathered.norm
        if self.training:
            self.margin.update(batch.target_cos, gathered.norm)
            self.step += 1
        softmax = Softmax(self._margin_now(), self.compute_dtype, self.compiled, self.pool)
        taken = sum(gradient.kept.values.nbytes for gradient in self._gradients)
        taking_part = self.rows(rows)
        return step.forward(
            *(world, softmax, gathered, batch, centres, taking_part),
            taken=taken,
            wants_gradient=wants_gradient,
        )

    def _margin_now(self) -> Margin:
        """The margin with its state as it is: pass 2 of this batch may come after another batch moves it."""
        return copy.deepcopy(self.margin) if any(True for _ in self.margin.buffers()) else self.margin

    def _backward(self, gradient: BatchGradient) -> Tensor | None:
        """Keep the batch for the row optimizer's step, or return the sparse gradient of the weight."""
        if not self.weight.requires_grad:
            return None
        if not self.sparse_grad:
            if self._row_source is None:
                raise RuntimeError(
                    "this head has no optimizer: build partialfc.RowSGD(head, ...) or RowAdamW(head, ...), "
                    "or pass sparse_grad=True to PartialFC to use another one"
                )
            self._gradients.append(gradient)
            return None
        return sparse_gradient(gradient, self.rows(gradient.batch.rows), self.weight)


def _flush_rows(head: PartialFC, *_: object) -> None:
    if head._row_source is not None:
        head._row_source.flush()


def _rows_were_replaced(head: PartialFC, *_: object) -> None:
    head.discard_row_gradients()
    if head._row_source is not None:
        head._row_source.rows_were_replaced()
