"""From one device to another: what a head takes part in of `to`, `cuda`, `to_empty` and their like.

A head on `meta` waits for its centres alone. Its buffers (class_weights, a margin's) have values all the
time, since those that are not saved would come from nowhere else.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Change = Callable[[Tensor], Tensor]  # what a module's parameters and buffers become


def check_has_values(head: nn.Module) -> None:
    """Raises RuntimeError for centres or biases on `meta`."""
    if any(parameter.is_meta for parameter in head.parameters()):
        raise RuntimeError(
            "this head is on the device meta, so its centres have no values: load them with "
            "load_state_dict(state, assign=True), or call to_empty(device=...), and then load_state_dict or "
            "reset_parameters"
        )


def check_values_arrive(weight: Tensor, state: Mapping[str, Any], prefix: str, *, assigned: bool) -> None:
    """Before a head's state is loaded: ValueError where tensors without values are loaded, or loaded into."""
    names = [name for name, value in state.items() if name.startswith(prefix) and _is_meta(value)]
    if names and not weight.is_meta:
        raise ValueError(
            f"this state's {names[0]} is on the device meta, so it has no values to load: take the "
            "state_dict of a head that has them"
        )
    if weight.is_meta and not assigned and not _is_meta(state.get(f"{prefix}weight", weight)):
        raise ValueError(
            "this head is on the device meta and has no memory that a state could be copied to: load it with "
            "load_state_dict(state, assign=True), or call to_empty(device=...) first"
        )


def check_assigned(head: nn.Module, state: Mapping[str, Any], prefix: str) -> None:
    """Before a head's state is assigned: ValueError where a parameter would get another dtype or device."""
    for name, own in head.named_parameters():
        given = state.get(f"{prefix}{name}", own)
        if not isinstance(given, Tensor) or given is own:
            continue
        if given.dtype != own.dtype or (given.device != own.device and not own.is_meta):
            raise ValueError(
                f"assign=True would make {prefix}{name} {given.dtype} on {given.device}, and this head is "
                f"built with {own.dtype} on {own.device}: convert it first, or load without assign"
            )


def _is_meta(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_meta


def check_dtypes_stay(head: nn.Module, change: Change) -> None:
    """Raises ValueError where a parameter or a buffer would get another dtype."""
    for name, tensor in (*head.named_parameters(), *head.named_buffers()):
        dtype = change(tensor.detach().new_empty(0)).dtype
        if dtype != tensor.dtype:
            raise ValueError(
                f"converting this head would make its {name} {dtype}, and it is {tensor.dtype}: a head's "
                "dtypes are chosen when it is built, the centres' with weight_dtype and the arithmetic's "
                "with compute_dtype. Convert the backbone alone; the head takes embeddings of any "
                "floating-point dtype, and may be moved to another device"
            )


def destination(change: Change, weight: Tensor, *, waiting: bool) -> torch.device:
    """Where the weight will be. RuntimeError where that is another device, and gradients are `waiting`."""
    there = change(weight.detach().new_empty(0)).device
    if waiting and there != weight.device:
        raise RuntimeError(
            f"gradients of this head wait on {weight.device} for its optimizer's step, so it cannot move to "
            f"{there} now: call the optimizer's step, or zero_grad, before"
        )
    return there


def keeping_values(change: Change, device: torch.device) -> Change:
    """The same change of what is on `meta`; what has values comes to the device with them."""
    return lambda tensor: change(tensor) if tensor.is_meta else tensor.to(device)


def bring_buffers(head: nn.Module, device: torch.device) -> None:
    """All buffers to the device: a weight assigned to a head on `meta` may have brought another one."""
    for module in head.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.device != device:
                module._buffers[name] = buffer.to(device)
