"""A copy of modules' buffers, such as running statistics, to go back to."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class KeptBuffers:
    """The buffers of some modules as they were when `keep` was called last.

    A network has hundreds of small ones, and on a GPU each operation on one of them would be a kernel of its
    own. So all of a dtype and device lie in one tensor.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = modules
        self._copies: list[Tensor] = []

    @torch.no_grad()
    def keep(self) -> None:
        self._copies = [_joined(buffers) for buffers in self._groups()]

    @torch.no_grad()
    def restore(self, where: Tensor) -> None:
        """If `where` [] is not 0, overwrite the buffers with the copies, in place; the device decides."""
        back = where != 0
        for buffers, copy in zip(self._groups(), self._copies, strict=True):
            chosen = torch.split(torch.where(back, copy, _joined(buffers)), [b.numel() for b in buffers])
            torch._foreach_copy_(buffers, [c.view(b.shape) for c, b in zip(chosen, buffers, strict=True)])

    def _groups(self) -> list[list[Tensor]]:
        groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for module in self._modules:
            for buffer in module.buffers():
                groups.setdefault((buffer.dtype, buffer.device), []).append(buffer)
        return list(groups.values())


def _joined(buffers: list[Tensor]) -> Tensor:
    """All values of the buffers, one after another, in new memory."""
    return torch.cat([buffer.reshape(-1) for buffer in buffers])
