"""SGD with momentum on every row: one that does not take part owes its steps until it is next touched."""

import torch
from torch import Tensor

from partialfc.head.arguments import at_least, one_of
from partialfc.head.kernels import elementwise, storage
from partialfc.head.kernels.decay import DecayTable
from partialfc.head.kernels.storage import Noise, Stored
from partialfc.head.optim.base import RowOptimizer, State
from partialfc.head.optim.handles import ToHandle
from partialfc.head.partial_fc import PartialFC
from partialfc.head.rows import part

# After this many steps every row pays what it owes, so the decay table stays small. That is one sweep over
# the shard; a dense optimizer makes one in every step.
MOST_PENDING_STEPS = 4096
FLUSH_ROWS = 16384

MOMENTUM_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.int8)


class RowSGD(RowOptimizer):
    """SGD with momentum and weight decay, as torch.optim.SGD, at the cost of the rows that took part.

    Args:
        head (PartialFC): The head whose centres it moves. Other parameters need an optimizer of their own.
        lr (float): Learning rate, at least 0.
        momentum (float): How much of a row's last change a step keeps, in [0, 1). Default 0.
        weight_decay (float): What is added to a row's gradient, times the row; at least 0. Default 0.
        unsampled (str): What becomes of rows that do not take part. "dense" (default): every row moves as
            torch.optim.SGD would move it on the dense gradient, which is zero for those rows. They owe these
            steps, and pay them in closed form when they are next touched, or at `flush`. "frozen": rows and
            their momentum move only in steps that they take part in.
        momentum_dtype (torch.dtype | None): How the momentum is stored: None (default) for the head's
            math_dtype, float64, float32, bfloat16, or int8, which is a byte for each element and a float32
            scale for up to 512 of them. bfloat16 and int8 round without bias, see head/kernels/storage.py.

    Raises:
        ValueError: for an argument of another type or out of its range, or a head that has a row optimizer
            already or was built with sparse_grad=True.
    """

    def __init__(
        self,
        head: PartialFC,
        *,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        unsampled: str = "dense",
        momentum_dtype: torch.dtype | None = None,
    ) -> None:
        settings = {
            "lr": at_least("lr", lr, 0.0),
            "momentum": at_least("momentum", momentum, 0.0, below=1.0),
            "weight_decay": at_least("weight_decay", weight_decay, 0.0),
        }
        one_of("unsampled", unsampled, ("dense", "frozen"))
        one_of("momentum_dtype", momentum_dtype, (None, *MOMENTUM_DTYPES))
        super().__init__(head, settings)
        self.unsampled = unsampled
        self.momentum_dtype = momentum_dtype or head.math_dtype
        if unsampled == "dense":
            self.state[head.weight]["row_step"] = self._new_row_state(per_element=False, dtype=torch.int32)
        self._owed = DecayTable.fresh(0, head.weight.device)
        self._begin_step(self.param_groups[0])
        self._to_handle = self._choose_handle()

    @property
    def shared_state(self) -> State:
        return {"owed_from": self._owed.start, "owed": self._owed.products}

    def load_shared_state(self, state: State) -> None:
        products = state["owed"].to(self.head.weight.device)
        self._owed = DecayTable(start=state["owed_from"], products=products)

    def owed(self, index: Tensor | None) -> tuple[Stored | None, Tensor | None]:
        if self.unsampled == "frozen":
            return super().owed(index)
        row_step = self.row_state["row_step"]
        row_step = row_step if index is None else row_step[index]
        return self._velocity(), self._owed.since(row_step, self.head.math_dtype)

    @torch.no_grad()
    def flush(self) -> None:
        if self.unsampled == "frozen" or len(self._owed) == 1:
            return
        head, row_step, velocity = self.head, self.row_state["row_step"], self._velocity()
        key = self._key(1)
        for start in range(0, len(row_step), FLUSH_ROWS):
            rows = slice(start, min(start + FLUSH_ROWS, len(row_step)))
            owed = self._owed.since(row_step[rows], head.math_dtype)
            noise = self._noise(key, rows, head.stored, velocity)
            weight = part(head.stored, rows.start, rows.stop)
            moving = None if velocity is None else part(velocity, rows.start, rows.stop)
            out, _ = _momentum_out(moving, None, weight.values.shape, head)
            elementwise.pay(
                *(weight, moving, owed, weight, out, head.math_dtype, noise), compiled=head.compiled
            )
            _finish_momentum(moving, None, out, noise, compiled=head.compiled)
            del out
        row_step.fill_(self._now)
        self._owed = DecayTable.fresh(self._now, self._owed.products.device)

    def rows_were_replaced(self) -> None:
        self._owed = DecayTable.fresh(self._now, self._owed.products.device)
        if self.unsampled == "dense":
            self.row_state["row_step"].fill_(self._now)
        self._in_step = False

    def _begin_step(self, group: State) -> None:
        """Make the momentum, zeros as torch's, when it is first needed: a scheduler may raise it from 0."""
        if group["momentum"] > 0.0 and "momentum" not in self.row_state:
            weight = self.head.weight
            fresh = storage.zeros(len(weight), weight.shape[1], self.momentum_dtype, weight.device)
            self.state[weight]["momentum"] = fresh.values
            if fresh.scales is not None:
                self.state[weight]["momentum_scale"] = fresh.scales

    def _update(self, group: State) -> None:
        head, velocity = self.head, self._velocity()
        settings = self._vector(group["lr"], group["momentum"], group["weight_decay"])
        key = self._key(0)
        weight_out = self._to_handle(head.stored)
        velocity_out = None if velocity is None else self._to_handle(velocity)
        for chunk, gradient in head.row_gradients():
            moving = None if velocity is None else chunk.of(velocity)
            moving_out = None if velocity_out is None else chunk.of(velocity_out)
            out, out_index = _momentum_out(moving_out, chunk.index, gradient.shape, head)
            noise = self._noise(key, chunk.selector, head.stored, velocity)
            elementwise.sgd(
                *(chunk.weight, moving, chunk.owed, chunk.index),
                *(chunk.of(weight_out), out, out_index, gradient, settings),
                *(group["momentum"] > 0.0, head.math_dtype, noise),
                compiled=head.compiled,
            )
            _finish_momentum(moving_out, chunk.index, out, noise, compiled=head.compiled)
            del out  # its buffer serves the next chunk
            if self.unsampled == "dense":
                # The rows are at the step that _finish_step enters into the table.
                self.row_state["row_step"][chunk.selector] = self._now + 1

    def _finish_step(self, group: State) -> None:
        if self.unsampled == "frozen":
            return
        self._owed.advance(
            lr=float(group["lr"]), momentum=group["momentum"], weight_decay=group["weight_decay"]
        )
        if len(self._owed) > MOST_PENDING_STEPS:
            self.flush()

    def _small_step(self, to_handle: ToHandle, compiled: bool) -> list[Tensor]:
        head, dtype = self.head, self.head.math_dtype
        small = self._small_shard()
        weight, index, gradient = small.weight, small.index, small.gradient
        velocity = storage.zeros(len(weight.values), gradient.shape[1], self.momentum_dtype, index.device)
        noise = self._noise(0, index, weight, velocity)
        owed = None
        if self.unsampled == "dense":
            owed = weight.values.new_tensor([0.9, -0.1, 0.1, 0.9], dtype=dtype).repeat(len(index), 1)
        settings = self._vector(0.5, 0.9, 0.01)
        weight_out, velocity_out = to_handle(weight), to_handle(velocity)
        for _ in range(2):
            out, out_index = _momentum_out(velocity_out, index, gradient.shape, head)
            elementwise.sgd(
                *(weight, velocity, owed, index, weight_out, out, out_index),
                *(gradient, settings, True, dtype, noise),
                compiled=compiled,
            )
            _finish_momentum(velocity_out, index, out, noise, compiled=compiled)
        return [weight.values, storage.read(velocity, None, dtype)]

    @property
    def _now(self) -> int:
        """How many steps there were."""
        return self._owed.start + len(self._owed) - 1

    def _velocity(self) -> Stored | None:
        """The momentum of every row; None as long as there is none."""
        state = self.row_state
        return Stored(state["momentum"], state.get("momentum_scale")) if "momentum" in state else None


def _momentum_out(
    moving: Stored | None, index: Tensor | None, shape: torch.Size, head: PartialFC
) -> tuple[Stored | None, Tensor | None]:
    """What a kernel writes a chunk's momentum to, and at which rows of it: where it is stored.

    Momentum of 8 bits goes through a buffer of floats, because its scales need the largest elements first.
    """
    if moving is None or moving.scales is None:
        return moving, index
    return Stored(head.pool.take(tuple(shape), head.math_dtype, moving.values.device)), None


def _finish_momentum(
    moving: Stored | None, index: Tensor | None, out: Stored | None, noise: Noise | None, *, compiled: bool
) -> None:
    """Store momentum that a kernel wrote to a buffer."""
    if moving is not None and out is not None and out is not moving:
        assert noise is not None
        elementwise.store(moving, index, out.values, noise, compiled=compiled)
