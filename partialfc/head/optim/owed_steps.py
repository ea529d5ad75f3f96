"""The steps that rows owe, where the host may not know yet whether the last one was applied.

Where the device decides that, the host goes on as if it was, and hears of it a step later. Until then there
are two decay tables, and the device takes the one that is true.
"""

import torch
from torch import Tensor

from partialfc.distributed.accelerator import OnTheWay, on_device
from partialfc.head.kernels.decay import DecayTable


class OwedSteps:
    """The decay table from step to step. The last step may be open: not known whether it was applied."""

    def __init__(self) -> None:
        self._table = DecayTable.fresh(0)
        self._open: _OpenStep | None = None
        self._on_device: Tensor | None = None  # the products

    @property
    def table(self) -> DecayTable:
        """The table as it is. Waits until the device has decided on the last step."""
        self.settle()
        return self._table

    @property
    def start(self) -> int:
        """The step that the table begins with; the same whether the last step was applied or not."""
        return self._table.start

    @property
    def now(self) -> int:
        """How many steps were applied."""
        return self.table.start + len(self.table) - 1

    def replace(self, table: DecayTable) -> None:
        """Forget the table, and with it an open step."""
        self._table, self._open, self._on_device = table, None, None

    def advance(self, applies: Tensor | None, *, lr: float, momentum: float, weight_decay: float) -> None:
        """One more step; applies []: whether it is applied, None: it is."""
        before = self.table
        self.replace(before.advanced(lr=lr, momentum=momentum, weight_decay=weight_decay))
        self._open = None if applies is None else _OpenStep(before, applies)

    def settle(self) -> None:
        """Take back the last step if it was not applied.

        A step later the device has decided already; before that, this waits for it.
        """
        if self._open is not None:
            if not self._open.was_applied():
                self._table = self._open.before  # what is on the device is that already
            self._open = None

    def products(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The table's products [., 4] on the device, where they go once a step. Waits for nothing."""
        if self._on_device is None:
            if self._open is None:
                self._on_device = on_device(self._table.products.to(dtype), device)
            else:
                both = torch.stack([self._table.products, self._open.before.padded()])
                applied, skipped = on_device(both.to(dtype), device).unbind()
                self._on_device = torch.where(self._open.applies, applied, skipped)
        return self._on_device


class _OpenStep:
    """The last step; before: the table before it, applies []: whether it was applied, on the device."""

    def __init__(self, before: DecayTable, applies: Tensor) -> None:
        self.before, self.applies = before, applies
        self._on_the_way = OnTheWay(applies)

    def was_applied(self) -> bool:
        return bool(self._on_the_way.values())
