"""What centres need of the optimizer that moves their rows."""

from typing import Protocol

from torch import Tensor

from partialfc.head.optim.factor import CommonFactor
from partialfc.head.rows import Owed


class RowSource(Protocol):
    """An optimizer whose rows may owe some steps: it says what a row's value is now.

    factor: on all gradients that wait for its step.
    """

    factor: CommonFactor

    def owed(self, index: Tensor | None) -> Owed: ...

    def flush(self) -> None: ...

    def rows_were_replaced(self) -> None: ...

    def follow_head(self) -> None: ...

    def check_whole(self) -> None: ...
