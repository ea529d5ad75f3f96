"""Optimizers that decide on the device whether they step: which do, by what, and how momentum begins."""

import math
from typing import Any

import torch
from torch import Tensor

FOUND_INF, GRAD_SCALE = "found_inf", "grad_scale"
USUAL_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


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


def given_to(optimizer: torch.optim.Optimizer, device: torch.device | None) -> dict[str, Tensor]:
    """The `found_inf` and `grad_scale` that an optimizer has as attributes, each as a number [].

    On an accelerator the program waits for neither. device: of what it moves, or None for any.

    Raises ValueError for another value than a tensor of one number there, and on the CPU for a `grad_scale`
    that is not finite and above 0.
    """
    values = {name: getattr(optimizer, name, None) for name in (FOUND_INF, GRAD_SCALE)}
    given = {name: _number(name, value, device) for name, value in values.items() if value is not None}
    scale = given.get(GRAD_SCALE)
    if scale is not None and scale.device.type == "cpu" and not 0 < float(scale) < math.inf:
        raise ValueError(f"{GRAD_SCALE} is {float(scale)}; it must be finite and above 0")
    return given


def _number(name: str, value: object, device: torch.device | None) -> Tensor:
    if not isinstance(value, Tensor):
        kind = f"a {type(value).__name__}"
    else:
        kind = f"a tensor {[*value.shape]} of {value.dtype} on {value.device}"
        plain = value.layout is torch.strided and not (value.is_complex() or value.is_quantized)
        if plain and value.numel() == 1 and not value.is_meta and _reaches(value.device, device):
            number = value.detach().reshape(())
            number = number if number.dtype in USUAL_DTYPES else number.to(torch.float64)
            return number if device is None else number.to(device, non_blocking=True)
    there = "" if device is None else f" on {device}, where the centres are"
    raise ValueError(f"{name} is {kind}; it must be a tensor of one real number{there}, or not be set")


def _reaches(source: torch.device, device: torch.device | None) -> bool:
    """Whether a number comes from there without a wait, but for one that the CPU needs."""
    return device is None or device.type in (source.type, "cpu")
