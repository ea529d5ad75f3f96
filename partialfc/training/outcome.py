"""How a step ended: decided on the device for all ranks together, and heard by the host later."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import OnTheWay, on_device
from partialfc.distributed.world import World
from partialfc.head.optim.fused import heeds_found_inf

COLUMNS = ("bad loss", "bad gradient", "loader failed", "stop", "own microseconds")


@dataclass(frozen=True, slots=True)
class Heard:
    """What the host hears of a step, the same on every rank.

    loss, gradient_norm: of the step; finite_loss, finite: on every rank, the latter with the gradient;
    loader_failed: any rank's; stop: the number of a signal that any rank got, or 0; own_microseconds [W]:
    every rank's; scale_before, scale_after: the loss scale that the step used, and the next one's; terms: of
    the loss.
    """

    loss: float
    gradient_norm: float
    finite_loss: bool
    finite: bool
    loader_failed: bool
    stop: int
    own_microseconds: npt.NDArray[np.int64]
    scale_before: float
    scale_after: float
    terms: list[float]

    @property
    def overflowed(self) -> bool:
        """Whether the gradient alone was bad, and a lower loss scale may help. At scale 1 none is lower."""
        return self.finite_loss and not self.finite and self.scale_before > 1.0


class Outcome:
    """All ranks' view of a step, on the device; made by one small exchange.

    loss [], gradient_norm []: this rank's. The others: as in `Heard`, but of this rank.

    bad_loss []: bool, any rank's. skip []: 1.0 where no rank may apply the step, else 0.0, as the `found_inf`
    of torch's optimizers.
    """

    def __init__(
        self,
        world: World,
        loss: Tensor,
        gradient_norm: Tensor,
        *,
        loader_failed: bool,
        stop: int,
        own_microseconds: int,
    ) -> None:
        self._numbers = torch.stack([loss, torch.zeros_like(loss) + gradient_norm])
        bad = self._numbers.isfinite().logical_not()
        of_host = torch.tensor([loader_failed, stop, own_microseconds], dtype=torch.int64)
        table = torch.zeros(world.size, len(COLUMNS), dtype=torch.int64, device=loss.device)
        table[world.rank] = torch.cat([bad.to(torch.int64), on_device(of_host, loss.device)])
        # Summed, and not gathered: on many GPUs a small sum has far fewer hops, see plan/communication.py.
        self._table = world.all_reduce_sum(table)
        self.bad_loss = self._table[:, 0].any()
        self.skip = self._table[:, :3].any().to(torch.float32)

    def apply(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer's step, unless no rank may apply it. Its gradients are dropped.

        An optimizer whose kernels take `found_inf` leaves this to the device; for any other the host reads
        it, which waits for an accelerator.
        """
        if heeds_found_inf(optimizer):
            optimizer.found_inf = self.skip  # type: ignore[attr-defined]
            optimizer.step()
            del optimizer.found_inf  # type: ignore[attr-defined]
        elif not self.skip:
            optimizer.step()
        optimizer.zero_grad()

    def sent(self, scale_before: Tensor, scale_after: Tensor, terms: Tensor) -> "HeardLater":
        """On its way to the host, with the loss scales [] and the terms of the loss [M]."""
        scales = torch.stack([scale_before, scale_after])
        values = [self._numbers, scales, terms, self._table.flatten().double()]
        return HeardLater(torch.cat(values), terms=len(terms))


class HeardLater:
    """An outcome on its way. values [4 + M + 5 W], float64; terms: M, those of the loss."""

    def __init__(self, values: Tensor, *, terms: int) -> None:
        self._values = OnTheWay(values)
        self._terms = terms

    def heard(self) -> Heard:
        """Waits until it is there."""
        values = self._values.values().numpy()
        loss, norm, before, after, *terms = values[: 4 + self._terms].tolist()
        table = values[4 + self._terms :].astype(np.int64).reshape(-1, len(COLUMNS))
        bad_loss, bad_gradient, loader_failed = (bool(column.any()) for column in table.T[:3])
        return Heard(
            loss=loss,
            gradient_norm=norm,
            finite_loss=not bad_loss,
            finite=not (bad_loss or bad_gradient),
            loader_failed=loader_failed,
            stop=int(table[:, 3].max()),
            own_microseconds=table[:, 4],
            scale_before=before,
            scale_after=after,
            terms=terms,
        )
