"""Optimizers that compute the centres' gradient chunk by chunk and move only the rows that took part."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from partialfc.head.decay import DecayTable
from partialfc.head.partial_fc import PartialFC
from partialfc.head.softmax import Index

# Beyond this many steps every row is brought up to date at once, so the decay table stays small.
# One sweep over the shard in so many steps is what a dense optimizer does in each.
MOST_PENDING_STEPS = 4096
FLUSH_ROWS = 16384

State = dict[str, Any]


class RowOptimizer(torch.optim.Optimizer):
    """What RowSGD and RowAdamW share: one head, pass 2 of its softmax inside `step`.

    `step` consumes the gradients it applies, so they are applied once; `zero_grad` drops those not applied.
    """

    def __init__(self, head: PartialFC, defaults: dict[str, Any]) -> None:
        super().__init__([head.weight], defaults)
        self.head = head
        self._in_step = False
        head.attach(self)

    @property
    def row_state(self) -> State:
        """The optimizer's tensors with one row a local class, by name (for checkpoints and resharding)."""
        return {k: v for k, v in self.state[self.head.weight].items() if isinstance(v, Tensor)}

    @property
    def shared_state(self) -> State:
        """What is the same on every rank: plain numbers and small tensors (for checkpoints)."""
        return {}

    def load_shared_state(self, state: State) -> None:
        assert not state

    def current_rows(self, index: Index) -> Tensor:
        return self.head.weight.detach()[index].to(self.head.math_dtype)

    def flush(self) -> None:
        """Bring every row of `head.weight` up to date; between flushes, rows may owe steps."""

    def rows_were_replaced(self) -> None:
        """The head has loaded other rows, which owe nothing; the optimizer's own state comes after."""

    def check_whole(self) -> None:
        """Raises RuntimeError where a step ended in the middle, some rows moved and others not."""
        if self._in_step:
            raise RuntimeError(
                "an optimizer step on this head failed half way, so some rows have moved and others not; "
                "load the head and its optimizer from a checkpoint"
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self.head.has_row_gradients():
            (group,) = self.param_groups
            self.check_whole()
            self._in_step = True
            self._begin_step(group)
            with torch.autocast(self.head.weight.device.type, enabled=False):
                for index, centres, gradient in self.head.row_gradients():
                    self._update_rows(index, centres, gradient, group)
                self._finish_step(group)
            self._in_step = False
            self.head.discard_row_gradients()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        self.head.discard_row_gradients()

    def add_param_group(self, param_group: State) -> None:
        if self.param_groups:
            raise ValueError("a row optimizer moves the centres of one head; other parameters need their own")
        super().add_param_group(param_group)

    def state_dict(self) -> State:
        """Flushes first, so that it fits the head's state_dict whichever is taken first."""
        self.flush()
        state = super().state_dict()
        state["shared"] = self.shared_state
        return state

    def load_state_dict(self, state_dict: State) -> None:
        """As torch.optim.Optimizer's, but row state keeps its own dtypes (steps are integers).

        Raises ValueError for the state of another kind of optimizer.
        """
        state_dict = dict(state_dict)
        shared = state_dict.pop("shared", {})
        (tensors,) = state_dict["state"].values() or ({},)
        expected = {*self.row_state} ^ {*tensors} | {*self.shared_state} ^ {*shared}
        if expected - {"momentum"}:
            kind = type(self).__name__
            raise ValueError(f"state_dict is not that of a {kind} like this one: {sorted(expected)} differ")
        self.load_shared_state(shared)
        super().load_state_dict({**state_dict, "state": {}})
        self.state[self.head.weight] = {k: v.to(self.head.weight.device) for k, v in tensors.items()}
        self._in_step = False

    def _update_rows(self, index: Index, centres: Tensor, gradient: Tensor, group: State) -> None:
        raise NotImplementedError

    def _begin_step(self, group: State) -> None:
        pass

    def _finish_step(self, group: State) -> None:
        pass

    def _new_row_state(self, *, per_element: bool, dtype: torch.dtype) -> Tensor:
        weight = self.head.weight
        shape = weight.shape if per_element else weight.shape[:1]
        return torch.zeros(shape, dtype=dtype, device=weight.device)


class RowSGD(RowOptimizer):
    """SGD with momentum and weight decay, as torch.optim.SGD, at the cost of the rows that took part.

    unsampled="dense": every row moves as torch.optim.SGD would move it on the dense gradient, zero for rows
    that did not take part. Their steps are owed and paid in closed form when they are next touched, or by
    `flush`. unsampled="frozen": rows (and their momentum) move only in steps they take part in.
    """

    def __init__(
        self,
        head: PartialFC,
        *,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        unsampled: str = "dense",
    ) -> None:
        _check_at_least_zero(lr=lr, weight_decay=weight_decay)
        _check_below_one(momentum=momentum)
        if unsampled not in ("dense", "frozen"):
            raise ValueError(f"unsampled is {unsampled!r}; it must be 'dense' or 'frozen'")
        super().__init__(head, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.unsampled = unsampled
        if unsampled == "dense":
            self.state[head.weight]["row_step"] = self._new_row_state(per_element=False, dtype=torch.int32)
        self._owed = DecayTable.fresh(0, head.weight.device)
        self._begin_step(self.param_groups[0])

    @property
    def shared_state(self) -> State:
        return {"owed_from": self._owed.start, "owed": self._owed.products}

    def load_shared_state(self, state: State) -> None:
        products = state["owed"].to(self.head.weight.device)
        self._owed = DecayTable(start=state["owed_from"], products=products)

    def current_rows(self, index: Index) -> Tensor:
        return self._pay(index)[0] if self._owes() else super().current_rows(index)

    @torch.no_grad()
    def flush(self) -> None:
        if not self._owes():
            return
        for start in range(0, len(self.head.weight), FLUSH_ROWS):
            index = slice(start, start + FLUSH_ROWS)
            self._write(index, *self._pay(index))
        self._owed = DecayTable.fresh(self._now, self._owed.products.device)

    def rows_were_replaced(self) -> None:
        self._owed = DecayTable.fresh(self._now, self._owed.products.device)
        if self.unsampled == "dense":
            self.row_state["row_step"].fill_(self._now)
        self._in_step = False

    def _begin_step(self, group: State) -> None:
        """A scheduler may raise the momentum from 0 at any step; the buffer starts at zero, as torch's."""
        if group["momentum"] > 0.0 and "momentum" not in self.row_state:
            dtype = self.head.math_dtype
            self.state[self.head.weight]["momentum"] = self._new_row_state(per_element=True, dtype=dtype)

    def _update_rows(self, index: Index, centres: Tensor, gradient: Tensor, group: State) -> None:
        velocity = self._pay(index)[1] if self._owes() else self._velocity(index)
        change = gradient + group["weight_decay"] * centres
        if velocity is not None and group["momentum"] > 0.0:
            change = velocity = group["momentum"] * velocity + change
        # The rows' step is the one that _finish_step is about to enter.
        self._write(index, centres - group["lr"] * change, velocity, step=self._now + 1)

    def _finish_step(self, group: State) -> None:
        if self.unsampled == "frozen":
            return
        self._owed.advance(
            lr=float(group["lr"]), momentum=group["momentum"], weight_decay=group["weight_decay"]
        )
        if len(self._owed) > MOST_PENDING_STEPS:
            self.flush()

    @property
    def _now(self) -> int:
        return self._owed.start + len(self._owed) - 1

    def _owes(self) -> bool:
        return self.unsampled == "dense" and len(self._owed) > 1

    def _velocity(self, index: Index) -> Tensor | None:
        momentum = self.row_state.get("momentum")
        return None if momentum is None else momentum[index]

    def _pay(self, index: Index) -> tuple[Tensor, Tensor | None]:
        """The rows [k, D] and their momentum [k, D] after the steps they are owed."""
        rows = super().current_rows(index)
        ww, wv, vw, vv = self._owed.since(self.row_state["row_step"][index], rows.dtype)
        velocity = self._velocity(index)
        if velocity is None:
            return ww * rows, None
        return ww * rows + wv * velocity, vw * rows + vv * velocity

    def _write(self, index: Index, rows: Tensor, velocity: Tensor | None, step: int | None = None) -> None:
        self.head.weight[index] = rows.to(self.head.weight.dtype)
        state = self.row_state
        if velocity is not None:
            state["momentum"][index] = velocity
        if self.unsampled == "dense":
            state["row_step"][index] = self._now if step is None else step


class RowAdamW(RowOptimizer):
    """AdamW on the rows that take part; a row that does not is frozen, moments included.

    Moments, weight decay and bias correction count a row's own steps only: each row follows
    torch.optim.AdamW on the sequence of its own gradients. Loshchilov and Hutter 2019 (arXiv:1711.05101).
    """

    def __init__(
        self,
        head: PartialFC,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        _check_at_least_zero(lr=lr, weight_decay=weight_decay, eps=eps)
        _check_below_one(beta1=betas[0], beta2=betas[1])
        super().__init__(head, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.state[head.weight] = {
            "mean": self._new_row_state(per_element=True, dtype=head.math_dtype),
            "square": self._new_row_state(per_element=True, dtype=head.math_dtype),
            "count": self._new_row_state(per_element=False, dtype=torch.int32),
        }

    def _update_rows(self, index: Index, centres: Tensor, gradient: Tensor, group: State) -> None:
        state = self.row_state
        beta1, beta2 = group["betas"]
        count = state["count"][index] + 1
        mean = state["mean"][index].lerp(gradient, 1.0 - beta1)
        square = beta2 * state["square"][index] + (1.0 - beta2) * gradient * gradient
        state["count"][index], state["mean"][index], state["square"][index] = count, mean, square
        taken = count[:, None].to(centres.dtype)
        unbiased = mean / (1.0 - beta1**taken)
        scale = (square / (1.0 - beta2**taken)).sqrt() + group["eps"]
        decayed = centres * (1.0 - group["lr"] * group["weight_decay"])
        self.head.weight[index] = (decayed - group["lr"] * unbiased / scale).to(self.head.weight.dtype)


def _check_at_least_zero(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0.0):
            raise ValueError(f"{name} is {value!r}; it must be a finite number of at least 0")


def _check_below_one(**values: float) -> None:
    for name, value in values.items():
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name} is {value!r}; it must be at least 0 and below 1")
