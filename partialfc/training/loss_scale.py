"""What the loss is multiplied by where the backbone runs in float16, whose gradients underflow otherwise."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

INITIAL, GROWTH, BACKOFF, INTERVAL = 2.0**16, 2.0, 0.5, 2000  # as of torch.amp.GradScaler


class LossScale:
    """The scale of torch.amp.GradScaler, for a run whose ranks take one decision.

    The scale is halved by a step whose gradient overflows, which is skipped, and doubled by 2000 steps in a
    row without one. It stays on the device. Where not enabled, it is 1 and every call does nothing.
    """

    def __init__(self, device: torch.device, *, enabled: bool) -> None:
        self.enabled = enabled
        self._device = device
        self._set(INITIAL if enabled else 1.0, 0)

    def _set(self, scale: float, steps: int) -> None:
        self.scale = torch.full((), scale, dtype=torch.float32, device=self._device)
        self._steps = torch.full((), steps, dtype=torch.int32, device=self._device)  # since it changed

    @property
    def value(self) -> float:
        """The scale now. Waits for the device."""
        return float(self.scale)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the loss [], times the scale."""
        (loss * self.scale if self.enabled else loss).backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def unscale(self, *optimizers: torch.optim.Optimizer) -> None:
        """Divide the gradients of the optimizers' parameters by the scale."""
        if not self.enabled:
            return
        inverse = self.scale.reciprocal()
        for optimizer in optimizers:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            if gradients := [p.grad for p in parameters if p.grad is not None]:  # frozen ones have none
                torch._foreach_mul_(gradients, inverse)

    @torch.no_grad()
    def update(self, *, bad_loss: Tensor, skip: Tensor) -> None:
        """After each step. skip []: 1.0 if it was skipped, else 0.0; bad_loss []: if for its loss.

        A bad loss changes nothing: the scale has no part in it.
        """
        if not self.enabled:
            return
        scale, steps = self.scale.clone(), self._steps.clone()
        torch._amp_update_scale_(scale, steps, skip, GROWTH, BACKOFF, INTERVAL)
        self.scale = torch.where(bad_loss, self.scale, scale)
        self._steps = torch.where(bad_loss, self._steps, steps)

    def state(self) -> dict[str, Any] | None:
        """For a checkpoint: the scale, and how many steps there were since it changed; None: not enabled."""
        if not self.enabled:
            return None
        return {"scale": self.value, "growth_tracker": int(self._steps)}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on from a checkpoint's `state`; from the beginning where it has none.

        Raises ValueError for a scale or a count that cannot be one.
        """
        if self.enabled and state is not None:
            scale, steps = state["scale"], state["growth_tracker"]
            if type(scale) is not float or not 0 <= scale < math.inf or type(steps) is not int or steps < 0:
                raise ValueError(f"the loss scale is {scale!r}, for {steps!r} steps")
            self._set(scale, steps)
