"""SGD with momentum on every row: one that does not take part owes its steps until it is next touched."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from partialfc.head.arguments import at_least, one_of
from partialfc.head.kernels import elementwise, per_sample, storage
from partialfc.head.kernels.decay import DecayTable
from partialfc.head.kernels.storage import Noise, Stored, column
from partialfc.head.optim.base import RowOptimizer, State
from partialfc.head.optim.owed_steps import OwedSteps
from partialfc.head.partial_fc import PartialFC
from partialfc.head.rows import Owed, part

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
        self._owed = OwedSteps()
        self._make_momentum(self.param_groups[0])

    @property
    def shared_state(self) -> State:
        table = self._owed.table
        return {**super().shared_state, "owed_from": table.start, "owed": table.products}

    def load_shared_state(self, state: State) -> None:
        super().load_shared_state(state)
        self._owed.replace(DecayTable(start=state["owed_from"], products=state["owed"].cpu()))

    def owed(self, index: Tensor | None) -> Owed:
        if self.unsampled == "frozen":
            return super().owed(index)
        coefficients = self._since(self.row_state["row_step"], index)
        return Owed(coefficients, self._velocity(), self._bias_velocity())

    @torch.no_grad()
    def flush(self) -> None:
        if self.unsampled == "frozen" or len(self._owed.table) == 1:
            return
        head, row_step, velocity = self.head, self.row_state["row_step"], self._velocity()
        key = self._key(1)
        with head.moving_nothing():
            for start in range(0, len(row_step), FLUSH_ROWS):
                rows = slice(start, min(start + FLUSH_ROWS, len(row_step)))
                owed = self._since(row_step[rows], None)
                lines = slice(rows.start * head.kind.per_row, rows.stop * head.kind.per_row)
                noise = self._noise(key, lines, head.stored, velocity)
                weight = part(head.stored, lines.start, lines.stop)
                moving = None if velocity is None else part(velocity, lines.start, lines.stop)
                with self._floats(velocity, len(weight.values)) as floats:
                    elementwise.pay(
                        *(weight, moving, head.kind.repeated(owed), head.math_dtype, noise, floats),
                        compiled=head.compiled,
                    )
                    self._store(moving, None, floats, noise)
                if (bias := head.stored_bias) is not None:
                    bias_velocity = self._bias_velocity()
                    of_bias = None if bias_velocity is None else part(bias_velocity, rows.start, rows.stop)
                    elementwise.pay(
                        *(part(bias, rows.start, rows.stop), of_bias, owed, head.math_dtype, None, None),
                        compiled=head.compiled,
                    )
        row_step.fill_(self._owed.now)
        self._owed.replace(DecayTable.fresh(self._owed.now))

    def rows_were_replaced(self) -> None:
        super().rows_were_replaced()
        self._owed.replace(DecayTable.fresh(self._owed.now))
        if self.unsampled == "dense":
            self.row_state["row_step"].fill_(self._owed.now)
        self._in_step = False

    def follow_head(self) -> None:
        super().follow_head()
        self._owed.replace(self._owed.table)  # without what is on the old device

    def _begin_step(self, group: State) -> None:
        if self.unsampled == "dense" and len(self._owed.table) > MOST_PENDING_STEPS:
            self.flush()
        self._make_momentum(group)

    def _make_momentum(self, group: State) -> None:
        """Make the momentum, zeros as torch's, when it is first needed: a scheduler may raise it from 0."""
        if group["momentum"] > 0.0 and "momentum" not in self.row_state:
            weight = self.head.weight
            lines, size = len(weight) * self.head.kind.per_row, self.head.embedding_size
            fresh = storage.zeros(lines, size, self.momentum_dtype, weight.device)
            for name, values in {"momentum": fresh.values, "momentum_scale": fresh.scales}.items():
                if values is not None:
                    of_rows = (len(weight), self.head.kind.per_row * values.shape[1])
                    self.state[weight][name] = values.view(of_rows)
            if self.head.bias is not None:
                dtype = self.head.math_dtype
                self.state[weight]["bias_momentum"] = self._new_row_state(per_element=False, dtype=dtype)

    def _update(self, group: State, applies: Tensor | None) -> None:
        head, velocity = self.head, self._velocity()
        settings = self._vector(group["lr"], group["momentum"], group["weight_decay"])
        key = self._key(0)
        rows = head.rows_with_gradient()
        has_momentum = group["momentum"] > 0.0
        for chunk, gradient, by_bias in head.row_gradients(rows):
            moving = None if velocity is None else chunk.of_lines(velocity)
            noise = self._noise(key, chunk.line_selector, head.stored, velocity)
            with self._floats(velocity, chunk.num_lines) as floats:
                elementwise.sgd(
                    *((chunk.weight, moving), chunk.lines, settings, chunk.owed_by_lines, gradient),
                    *(has_momentum, head.math_dtype, head.kind.unit, noise, floats, applies),
                    compiled=head.compiled,
                )
                self._store(moving, chunk.lines, floats, noise, applies)
            if by_bias is not None:
                of_bias = (head.stored_bias, self._bias_velocity())
                elementwise.sgd(
                    tuple(None if each is None else chunk.of_rows(each) for each in of_bias),
                    *(chunk.index, settings, chunk.owed, by_bias[:, None]),
                    *(has_momentum, head.math_dtype, False, None, None, applies),
                    compiled=head.compiled,
                )
        if self.unsampled == "dense":
            self._count_step(group, rows.index, applies)

    def _count_step(self, group: State, index: Tensor | None, applies: Tensor | None) -> None:
        """The rows index [K] (None: all) have taken a step, and the others owe it."""
        row_step, step = self.row_state["row_step"], self._owed.now + 1
        if applies is not None:
            per_sample.set_steps(row_step, index, step, applies, compiled=self.head.fused)
        elif index is None:
            row_step.fill_(step)
        else:
            row_step.index_fill_(0, index, step)
        settings = {"momentum": group["momentum"], "weight_decay": group["weight_decay"]}
        self._owed.advance(applies, lr=float(group["lr"]), **settings)

    def _since(self, row_steps: Tensor, index: Tensor | None) -> Tensor:
        """What rows index [k] (None: all) of those at row_steps owe [k, 4]."""
        products = self._owed.products(self.head.math_dtype, row_steps.device)
        start, fused = self._owed.start, self.head.fused
        return per_sample.owed_since(row_steps, index, products, start, compiled=fused)

    def _velocity(self) -> Stored | None:
        """The momentum of every row, as lines; None as long as there is none."""
        state = self.row_state
        if "momentum" not in state:
            return None
        return self.head.kind.lines(Stored(state["momentum"], state.get("momentum_scale")))

    def _bias_velocity(self) -> Stored | None:
        """The momentum of every bias; None as long as there is none."""
        state = self.row_state
        return column(state["bias_momentum"]) if "bias_momentum" in state else None

    def _floats(self, velocity: Stored | None, num_lines: int) -> AbstractContextManager[Tensor | None]:
        """Where a kernel writes momentum of 8 bits first, [num_lines, D]; None for other momentum.

        Its scales need the largest elements, so all of a block must be there before it is stored.
        """
        if velocity is None or velocity.scales is None:
            return nullcontext()
        shape = (num_lines, self.head.embedding_size)
        return self.head.pool.lend(shape, self.head.math_dtype, velocity.values.device)

    def _store(
        self,
        moving: Stored | None,
        index: Tensor | None,
        floats: Tensor | None,
        noise: Noise | None,
        applies: Tensor | None = None,
    ) -> None:
        """Store momentum of 8 bits that a kernel wrote to `floats`."""
        if moving is not None and floats is not None:
            assert noise is not None
            elementwise.store((moving,), index, None, floats, noise, applies, compiled=self.head.compiled)
