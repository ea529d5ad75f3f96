"""AdamW on the rows that take part."""

import torch
from torch import Tensor

from partialfc.head.arguments import at_least
from partialfc.head.kernels import elementwise
from partialfc.head.kernels.storage import Stored, column
from partialfc.head.optim.base import RowOptimizer, State
from partialfc.head.partial_fc import PartialFC


class RowAdamW(RowOptimizer):
    """AdamW on the rows that take part; a row that does not is frozen, moments included.

    Moments, weight decay and bias correction count a row's own steps only: each row follows
    torch.optim.AdamW on the sequence of its own gradients. Loshchilov and Hutter 2019 (arXiv:1711.05101).

    Args:
        head (PartialFC): The head whose centres it moves. Other parameters need an optimizer of their own.
        lr (float): Learning rate, at least 0.
        betas (tuple[float, float]): How much of the gradient's and of its square's running average a step
            keeps, each in [0, 1). Default (0.9, 0.999).
        eps (float): What is added to the denominator, at least 0. Default 1e-8.
        weight_decay (float): Decoupled weight decay, at least 0: a step also takes lr · weight_decay of a row
            from it. Default 0.01.

    Raises:
        ValueError: for an argument of another type or out of its range, or a head that has a row optimizer
            already or was built with sparse_grad=True.
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
        try:
            beta1, beta2 = betas
        except (TypeError, ValueError):
            raise ValueError(f"betas is {betas!r}; it must be two numbers, such as (0.9, 0.999)") from None
        settings = {
            "lr": at_least("lr", lr, 0.0),
            "betas": (at_least("beta1", beta1, 0.0, below=1.0), at_least("beta2", beta2, 0.0, below=1.0)),
            "eps": at_least("eps", eps, 0.0),
            "weight_decay": at_least("weight_decay", weight_decay, 0.0),
        }
        super().__init__(head, settings)
        self.state[head.weight] = {
            "mean": self._new_row_state(per_element=True, dtype=head.math_dtype),
            "square": self._new_row_state(per_element=True, dtype=head.math_dtype),
            "count": self._new_row_state(per_element=False, dtype=torch.int32),
        }
        if head.bias is not None:
            for name in ("bias_mean", "bias_square"):
                self.state[head.weight][name] = self._new_row_state(per_element=False, dtype=head.math_dtype)

    def _update(self, group: State, applies: Tensor | None) -> None:
        head = self.head
        state = self.row_state
        settings = self._vector(group["lr"], *group["betas"], group["eps"], group["weight_decay"])
        key = self._key(0)
        mean, square = (head.kind.lines(Stored(state[name])) for name in ("mean", "square"))
        one = 1 if applies is None else applies.to(torch.int32)
        for chunk, gradient, by_bias in head.row_gradients(head.rows_with_gradient()):
            state["count"][chunk.selector] += one
            count = state["count"][chunk.selector]
            noise = self._noise(key, chunk.line_selector, head.stored)
            elementwise.adamw(
                *((chunk.weight, chunk.of_lines(mean), chunk.of_lines(square)), chunk.lines, settings),
                *(head.kind.repeated(count), gradient, head.math_dtype, head.kind.unit, noise, applies),
                compiled=head.compiled,
            )
            if by_bias is not None and head.bias is not None:
                of_bias = (head.bias, state["bias_mean"], state["bias_square"])
                elementwise.adamw(
                    *(tuple(chunk.of_rows(column(each)) for each in of_bias), chunk.index, settings, count),
                    *(by_bias[:, None], head.math_dtype, False, None, applies),
                    compiled=head.compiled,
                )
