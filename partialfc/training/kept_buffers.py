"""A copy of modules' buffers, such as running statistics, to go back to."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class KeptBuffers:
    """The buffers of some modules as they were when `keep` was called last.

    A network has hundreds of small ones, and on a GPU each copy of its own would be a kernel of its own. So
    all of a dtype and device are copied in one call, into memory that is made once.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = modules
        self._copies: list[Tensor] = []

    @torch.no_grad()
    def keep(self) -> None:
        buffers = self._buffers()
        if [_kind(copy) for copy in self._copies] != [_kind(buffer) for buffer in buffers]:
            self._copies = [torch.empty_like(buffer) for buffer in buffers]
        _copy(self._copies, buffers)

    @torch.no_grad()
    def restore(self) -> None:
        """Overwrite the buffers with the copies, in place."""
        _copy(self._buffers(), self._copies)

    def _buffers(self) -> list[Tensor]:
        return [buffer for module in self._modules for buffer in module.buffers()]


def _kind(tensor: Tensor) -> tuple[torch.dtype, torch.device, torch.Size]:
    return tensor.dtype, tensor.device, tensor.shape


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    groups: dict[tuple[torch.dtype, torch.device], tuple[list[Tensor], list[Tensor]]] = {}
    for target, source in zip(targets, sources, strict=True):
        group = groups.setdefault((target.dtype, target.device), ([], []))
        group[0].append(target)
        group[1].append(source)
    for into, out_of in groups.values():
        torch._foreach_copy_(into, out_of)
