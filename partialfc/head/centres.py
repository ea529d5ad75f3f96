"""A shard's centres as a module: what they are now, and the optimizer that moves them."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from partialfc.distributed.world import World
from partialfc.head.gradient import BatchGradient
from partialfc.head.initial import fill_normal, normal_rows
from partialfc.head.kernels.compiled import outside_graphs
from partialfc.head.kernels.storage import Stored, column
from partialfc.head.moving import (
    bring_buffers,
    check_assigned,
    check_dtypes_stay,
    check_has_values,
    check_values_arrive,
    destination,
    keeping_values,
)
from partialfc.head.optim.sparse import sparse_gradient
from partialfc.head.row_source import RowSource
from partialfc.head.rows import UNIT, Chunk, Kind, Owed, Rows, index_of
from partialfc.head.shard import ClassShard
from partialfc.head.surroundings import check_surroundings, outside_modes, world_for_pickled
from partialfc.head.top_k import top_k
from partialfc.head.waiting import Version, WaitingGradients
from partialfc.head.whose import check_state, note

ROWS_TO_LOOK_AT = 4096  # at once, to find what is not finite among them


class ShardedCentres(nn.Module):
    """One rank's centres `weight` [C_l, S·D], and the gradients that wait for the optimizer to apply them.

    kind: how they enter the products, S to a class; with bias: each class has one too, `bias` [C_l].
    Rows of the weight may owe steps to the optimizer. `rows` gives them as they are once these are paid; a
    state_dict, a copy or a pickle is taken after a flush, which pays them all.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        *,
        world: World,
        weight_dtype: torch.dtype,
        math_dtype: torch.dtype,
        seed: int,
        sparse_grad: bool,
        device: torch.device,
        kind: Kind = UNIT,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.world = world
        self.shard = ClassShard(num_classes, world.rank, world.size)
        self.embedding_size = embedding_size
        self.math_dtype = math_dtype
        self.seed = seed
        self.sparse_grad = sparse_grad
        start, stop = self.shard.start, self.shard.stop
        self.kind = kind
        size = kind.per_row * embedding_size
        self.weight = nn.Parameter(
            normal_rows(start, stop, size, seed=seed, dtype=weight_dtype, device=device)
        )
        self.bias: nn.Parameter | None = None
        if bias:
            self.bias = nn.Parameter(torch.zeros(len(self.shard), dtype=math_dtype, device=device))
        self._row_source: RowSource | None = None
        self._waiting = WaitingGradients()
        self._moves = self._writes_that_move_nothing = 0
        self.register_state_dict_pre_hook(_flush_rows)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_check_state)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_rows_were_replaced)  # type: ignore[no-untyped-call]

    def reset_parameters(self) -> None:
        """Give the centres their first values again, which follow from seed and class alone.

        It is for a head built on `meta`, once `to_empty` has given it memory. A row optimizer forgets what
        rows owed it, and keeps its momentum.
        """
        fill_normal(self.weight.detach(), self.shard.start, seed=self.seed)
        if self.bias is not None:
            self.bias.detach().zero_()
        _rows_were_replaced(self)

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
    def whose(self) -> dict[str, int]:
        """What a state says of whose rows it holds, and of what kind."""
        return note(self.shard, sub_centers=self.kind.per_row, bias=self.bias is not None)

    @property
    def stored(self) -> Stored:
        """This rank's centres as they lie in memory, as lines [C_l·S, D]."""
        return self.kind.lines(Stored(self.weight.detach()))

    @property
    def stored_bias(self) -> Stored | None:
        """Their biases as rows [C_l, 1]; None without."""
        return None if self.bias is None else column(self.bias)

    def current_rows(self, rows: npt.NDArray[np.int64] | None = None) -> Tensor:
        """Local rows [k] -> their centres [k, S·D] as they are now, in the dtype of the head's arithmetic."""
        return self.rows(rows).all()

    def rows(self, rows: npt.NDArray[np.int64] | None, index: Tensor | None = None) -> Rows:
        """Local rows [K], ascending, as they are now; None: all of them. index: the same on the device."""
        index = index_of(rows, self.weight.device) if index is None else index
        owed = Owed() if self._row_source is None else self._row_source.owed(index)
        return Rows(
            *(self.stored, owed.velocity, owed.coefficients, rows, index, self.math_dtype, self.kind),
            *(self.stored_bias, owed.bias_velocity),
        )

    def are_finite(self, rows: npt.NDArray[np.int64] | None) -> bool:
        """Whether local rows [K], ascending, are finite as they are now; None: all. In little memory."""
        found = self.rows(rows)
        if (biases := found.biases()) is not None and not torch.isfinite(biases).all():
            return False
        chunks = found.chunks(ROWS_TO_LOOK_AT)
        return all(bool(torch.isfinite(chunk.centres()).all()) for chunk in chunks)

    @outside_graphs
    def top_k(self, embeddings: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k classes whose centres are nearest, among all classes. Every rank calls it together.

        Args:
            embeddings (Tensor): [B, D] of any norm, as for `forward`; each rank gives its own; B may be 0.
            k (int): How many, 1 to num_classes, the same on every rank.

        Returns:
            tuple[Tensor, Tensor]: Their cosines [B, k] in `math_dtype`, largest first, without margin and
            scale, and their class ids [B, k] int64. Of equal cosines the lower class id comes first.

        Raises:
            ValueError: for a wrong type, shape, dtype or device, or another k.
            DistributedError: for another rank's wrong argument, or where ranks differ in k, in dtype or in
                what they call.
        """
        check_surroundings(self, self.world)
        self.check_whole()
        with outside_modes(self.weight.device):
            return top_k(self.world, self.shard, self.rows(None), embeddings, k)

    def check_whole(self) -> None:
        """Raises RuntimeError without values, and where an optimizer's step ended in the middle."""
        check_has_values(self)
        if self._row_source is not None:
            self._row_source.check_whole()

    @property
    def centres_version(self) -> Version:
        """Another one after every move of the centres: a step, a loaded state, a write that torch counts."""
        return self._moves, self._writes() - self._writes_that_move_nothing

    def count_move(self) -> None:
        """Called before the centres move: losses and gradients of before are no longer theirs."""
        self._moves += 1

    @contextmanager
    def moving_nothing(self) -> Iterator[None]:
        """Around writes to the weight that leave all rows what they are now, such as paying what they owe."""
        before = self._writes()
        yield
        self._writes_that_move_nothing += self._writes() - before

    def _writes(self) -> int:
        if self.weight.is_inference():
            return 0
        return self.weight._version + (0 if self.bias is None else self.bias._version)

    def check_unmoved(self, version: Version) -> None:
        """Raises RuntimeError if the centres have moved since they had this version."""
        if version != self.centres_version:
            raise RuntimeError(
                "the head's centres have moved since the forward of this loss (an optimizer's step, a loaded "
                "state or another write to head.weight), so its gradient would be that of neither the old "
                "nor the new ones: call backward and the optimizer's step before they move, or zero_grad "
                "and forward again afterwards"
            )

    def check_waiting_gradients(self) -> None:
        """Raises RuntimeError if the centres have moved since the gradients that wait were taken."""
        self.check_unmoved(self._waiting.since)

    def take_gradient(
        self, pass_two: Callable[[Tensor], BatchGradient], scale: Tensor, version: Version
    ) -> Tensor | None:
        """Keep a batch's gradient for the row optimizer's step, or return the sparse one of the weight.

        pass_two: from the gradient by the loss, `scale` []; version: of the centres in the batch's forward.
        """
        if not self.weight.requires_grad:
            return None
        self.check_unmoved(version)
        gradient = pass_two(scale)
        if not self.sparse_grad:
            if self._row_source is None:
                raise RuntimeError(
                    "this head has no optimizer: build partialfc.RowSGD(head, ...) or RowAdamW(head, ...), "
                    "or pass sparse_grad=True to PartialFC to use another one"
                )
            self._waiting.add(gradient, version)
            self._row_source.factor.cover(gradient.unsound)
            return None
        sparse = sparse_gradient(gradient, self.rows(gradient.batch.rows), self.weight)
        gradient.kept.release()
        return sparse

    def rows_with_gradient(self) -> Rows:
        """The rows that have a gradient, as they are now."""
        return self.rows(*self._waiting.rows())

    def row_gradients(self, rows: Rows) -> Iterator[tuple[Chunk, Tensor, Tensor | None]]:
        """The `rows_with_gradient`, in chunks, each row once, and the gradients by centres and by biases."""
        assert self._row_source is not None
        yield from self._waiting.by_rows(rows, self._row_source.factor.value)

    def has_row_gradients(self) -> bool:
        """Whether the gradient of a batch waits for the optimizer's step."""
        return bool(self._waiting)

    def kept_bytes(self) -> int:
        """The memory of the exponentials that the waiting gradients keep."""
        return self._waiting.kept_bytes()

    def discard_row_gradients(self) -> None:
        """Drop the gradients that wait, and the exponentials that they keep."""
        self._waiting.clear()
        if self._row_source is not None:
            self._row_source.factor.clear()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As torch.nn.Module's; drops the gradients that wait, too."""
        super().zero_grad(set_to_none)
        self.discard_row_gradients()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `cuda`, `half` and their like do: a head takes another device, and no other dtype.

        Its row optimizer goes with it. RuntimeError where gradients wait for that one's step. From `meta` the
        weight alone comes without values: those of buffers, such as class_weights, no state_dict would bring.
        """
        check_dtypes_stay(self, fn)
        before = self.weight.device
        there = destination(fn, self.weight, waiting=self.has_row_gradients())
        if there != before:
            self.count_move()
        change = keeping_values(fn, there) if self.weight.is_meta else fn
        super()._apply(change, recurse)  # type: ignore[no-untyped-call]
        if there != before and self._row_source is not None:
            self._row_source.follow_head()
        return self

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: the rows as they are now, without an optimizer, gradients or a group."""
        _flush_rows(self)
        return self.__dict__ | {"world": None, "_row_source": None, "_waiting": WaitingGradients()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """From a pickle: the head joins the default process group, where it must have its old rank."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.world = world_for_pickled(self.shard)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy with the rows as they are now, in the same process group, without an optimizer."""
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__getstate__(), memo), world=self.world)
        return copied


def _flush_rows(centres: ShardedCentres, *_: object) -> None:
    if centres._row_source is not None:
        centres._row_source.flush()


def _check_state(
    centres: ShardedCentres, state: Mapping[str, Any], prefix: str, metadata: Mapping[str, Any], *_: object
) -> None:
    """Before a state is loaded: ValueError for another shard's rows, none, or another dtype to assign."""
    check_state(state, prefix, centres.whose)
    assigned = bool(metadata.get("assign_to_params_buffers"))
    check_values_arrive(centres.weight, state, prefix, assigned=assigned)
    if assigned:
        check_assigned(centres, state, prefix)


def _rows_were_replaced(centres: ShardedCentres, *_: object) -> None:
    if not centres.weight.is_meta:
        bring_buffers(centres, centres.weight.device)
    centres.count_move()
    centres.discard_row_gradients()
    if centres._row_source is not None:
        centres._row_source.rows_were_replaced()
