"""What optimizer steps without a gradient do to a row, in closed form.

With a zero gradient, SGD with momentum mu, weight decay wd and learning rate lr moves a row w and its
momentum v by the same 2x2 matrix as every other such row:

    [w', v'] = [[1 - lr·wd, -lr·mu], [wd, mu]] [w, v]

A row that was last touched at step s owes the steps s+1..t, and the product of their matrices pays for them.
A table keeps the product for every s. A step multiplies all of these by its own matrix, which costs O(t - s)
operations, not O(C·D). The table is the host's, which knows every step's settings; an accelerator gets a
copy.
"""

import torch
from torch import Tensor

IDENTITY = torch.tensor([[1.0, 0.0, 0.0, 1.0]], dtype=torch.float64, device="cpu")


class DecayTable:
    """For each past step s: the product (ww, wv, vw, vv) that brings a row from s to now."""

    def __init__(self, *, start: int, products: Tensor) -> None:
        self.start = start
        self.products = products  # [step - start + 1, 4] float64 on the host, the last one the identity

    @staticmethod
    def fresh(step: int) -> "DecayTable":
        """The table when every row is at `step`."""
        return DecayTable(start=step, products=IDENTITY)

    def __len__(self) -> int:
        return len(self.products)

    def advanced(self, *, lr: float, momentum: float, weight_decay: float) -> "DecayTable":
        """The table after one more step, which every row owes that is not touched in it."""
        if momentum == 0.0:
            step = [[1.0 - lr * weight_decay, 0.0], [0.0, 1.0]]  # torch leaves the momentum as it was
        else:
            step = [[1.0 - lr * weight_decay, -lr * momentum], [weight_decay, momentum]]
        moved = torch.tensor(step, dtype=torch.float64, device="cpu") @ self.products.view(-1, 2, 2)
        return DecayTable(start=self.start, products=torch.cat([moved.view(-1, 4), IDENTITY]))

    def padded(self) -> Tensor:
        """The products [., 4] and one more row, which nothing is at."""
        return torch.cat([self.products, IDENTITY])
