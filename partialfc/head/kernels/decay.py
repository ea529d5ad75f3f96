"""What optimizer steps without a gradient do to a row, in closed form.

With a zero gradient, SGD with momentum mu, weight decay wd and learning rate lr moves a row w and its
momentum v by the same 2x2 matrix as every other such row:

    [w', v'] = [[1 - lr·wd, -lr·mu], [wd, mu]] [w, v]

A row that was last touched at step s owes the steps s+1..t, and the product of their matrices pays for them.
A table keeps the product for every s. A step multiplies all of these by its own matrix, which costs O(t - s)
operations, not O(C·D).
"""

import torch
from torch import Tensor


class DecayTable:
    """For each past step s: the product (ww, wv, vw, vv) that brings a row from s to now."""

    def __init__(self, *, start: int, products: Tensor) -> None:
        self.start = start
        self.products = products  # [step - start + 1, 4] float64, the last one the identity

    @staticmethod
    def fresh(step: int, device: torch.device) -> "DecayTable":
        """The table when every row is at `step`."""
        identity = torch.tensor([[1.0, 0.0, 0.0, 1.0]], dtype=torch.float64, device=device)
        return DecayTable(start=step, products=identity)

    def __len__(self) -> int:
        return len(self.products)

    def advance(self, *, lr: float, momentum: float, weight_decay: float) -> None:
        """One more step, which every row owes that is not touched in it."""
        if momentum == 0.0:
            step = [[1.0 - lr * weight_decay, 0.0], [0.0, 1.0]]  # torch leaves the momentum as it was
        else:
            step = [[1.0 - lr * weight_decay, -lr * momentum], [weight_decay, momentum]]
        moved = self.products.new_tensor(step) @ self.products.view(-1, 2, 2)
        identity = self.products.new_tensor([[1.0, 0.0, 0.0, 1.0]])
        self.products = torch.cat([moved.view(-1, 4), identity])

    def since(self, row_steps: Tensor, dtype: torch.dtype) -> Tensor:
        """row_steps [k] -> the products' entries (ww, wv, vw, vv) from those steps to now, [k, 4]."""
        return self.products.to(dtype)[row_steps.long() - self.start]
