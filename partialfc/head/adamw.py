"""AdamW on the rows that take part."""

import torch

from partialfc.head import kernels
from partialfc.head.optim import RowOptimizer, State, check_at_least_zero, check_below_one
from partialfc.head.partial_fc import PartialFC
from partialfc.head.rows import second_handle
from partialfc.head.storage import Stored


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
        stream: torch.cuda.Stream | None = None,
    ) -> None:
        check_at_least_zero(lr=lr, weight_decay=weight_decay, eps=eps)
        check_below_one(beta1=betas[0], beta2=betas[1])
        super().__init__(
            head, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}, stream=stream
        )
        self.state[head.weight] = {
            "mean": self._new_row_state(per_element=True, dtype=head.math_dtype),
            "square": self._new_row_state(per_element=True, dtype=head.math_dtype),
            "count": self._new_row_state(per_element=False, dtype=torch.int32),
        }

    def _update(self, group: State) -> None:
        head = self.head
        state = self.row_state
        settings = self._vector(group["lr"], *group["betas"], group["eps"], group["weight_decay"])
        key, first = self._key(0), self._first_class()
        mean, square = Stored(state["mean"]), Stored(state["square"])
        weight_out, mean_out, square_out = map(second_handle, (head.stored, mean, square))
        for chunk, gradient in head.row_gradients():
            place = slice(chunk.start, chunk.stop) if chunk.index is None else chunk.index
            state["count"][place] += 1
            kernels.adamw(
                chunk.weight,
                chunk.of(mean),
                chunk.of(square),
                state["count"][place],
                chunk.index,
                chunk.of(weight_out),
                chunk.of(mean_out),
                chunk.of(square_out),
                gradient,
                settings,
                head.math_dtype,
                key,
                first + chunk.start if chunk.index is None else first,
                compiled=head.compiled,
            )
