"""What the loss is multiplied by where the backbone runs in float16, whose gradients underflow otherwise."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class LossScale:
    """A torch.amp.GradScaler whose decisions are the run's, which are the same on every rank.

    The scale is halved by a step whose gradient overflows, which is skipped, and doubled by 2000 steps in a
    row without one. Where not enabled, the scale is 1 and every call does nothing.
    """

    def __init__(self, device: torch.device, *, enabled: bool) -> None:
        self.enabled = enabled
        self._scaler = torch.amp.GradScaler(device.type, enabled=enabled)

    @property
    def value(self) -> float:
        """The scale now. Waits for the device."""
        return self._scaler.get_scale()

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the loss [], times the scale."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def unscale(self, *optimizers: torch.optim.Optimizer) -> None:
        """Divide the gradients of the optimizers' parameters by the scale."""
        for optimizer in optimizers:
            self._scaler.unscale_(optimizer)

    def stepped(self) -> None:
        """After each step that moved the weights."""
        self._scaler.update()

    def overflowed(self) -> None:
        """After a step that was skipped for its gradient: halve the scale."""
        if self.enabled:
            self._scaler.update(self.value * self._scaler.get_backoff_factor())
            self.restore({"scale": self.value, "growth_tracker": 0})

    def skipped(self) -> None:
        """After a step that was skipped for something else, of which the scale has no part."""
        if self.enabled:
            self._scaler.update(self.value)

    def state(self) -> dict[str, Any] | None:
        """For a checkpoint: the scale, and how many steps there were since it changed; None: not enabled."""
        if not self.enabled:
            return None
        state = self._scaler.state_dict()
        return {"scale": state["scale"], "growth_tracker": state["_growth_tracker"]}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on from a checkpoint's `state`; from the beginning where it has none.

        Raises ValueError for a scale or a count that cannot be one.
        """
        if self.enabled and state is not None:
            scale, steps = state["scale"], state["growth_tracker"]
            if type(scale) is not float or not 0 <= scale < math.inf or type(steps) is not int or steps < 0:
                raise ValueError(f"the loss scale is {scale!r}, for {steps!r} steps")
            names = {"scale": scale, "_growth_tracker": steps}
            self._scaler.load_state_dict(self._scaler.state_dict() | names)
