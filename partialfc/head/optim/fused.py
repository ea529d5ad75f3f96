"""Optimizers that decide on the device whether they step: which do, and how torch's momentum begins."""

from typing import Any

import torch


def heeds_found_inf(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it takes from its attribute `found_inf`, on the device, that a step is to be skipped.

    Not torch's SGD with dampening, which its first step goes without: it counts one that was skipped.
    """
    dampened = any(group.get("dampening") for group in optimizer.param_groups)
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False)) and not dampened


@torch.no_grad()
def begin_momentum(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Before a step of torch's SGD: momentum that is not there yet is 0. A step pre-hook.

    A fused first step that is skipped leaves it as memory happens to be (torch 2.13).
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            state = optimizer.state[parameter]
            if parameter.grad is not None and state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
