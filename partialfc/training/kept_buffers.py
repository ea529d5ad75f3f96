"""A copy of modules' buffers, such as running statistics, to go back to."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class KeptBuffers:
    """The buffers of some modules as they were when `keep` was called last.

    A network has hundreds of small ones, and on a GPU each operation on one of them would be a kernel of its
    own. So all of a dtype and device lie in one tensor.
    """

    def __init__(self, modules: Callable[[], Sequence[nn.Module]]) -> None:
        """modules: gives them as they are now; from a `keep` to its `restore` they stay the same ones."""
        self._modules = modules
        self._copies: list[Tensor] = []

    @torch.no_grad()
    def keep(self) -> None:
        self._copies = [_joined(buffers) for buffers in self._groups()]

    @torch.no_grad()
    def restore(self, where: Tensor | None = None) -> None:
        """Overwrite the buffers with the copies, in place; if `where` [] is 0, with what they are already.

        So the device decides, and the program does not wait for it.
        """
        for buffers, copy in zip(self._groups(), self._copies, strict=True):
            chosen = copy if where is None else torch.where(where != 0, copy, _joined(buffers))
            parts = torch.split(chosen, [buffer.numel() for buffer in buffers])
            torch._foreach_copy_(buffers, [p.view(b.shape) for p, b in zip(parts, buffers, strict=True)])

    def _groups(self) -> list[list[Tensor]]:
        groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for module in self._modules():
            for buffer in module.buffers():
                groups.setdefault((buffer.dtype, buffer.device), []).append(buffer)
        return list(groups.values())


def _joined(buffers: list[Tensor]) -> Tensor:
    """All values of the buffers, one after another, in new memory."""
    return torch.cat([buffer.reshape(-1) for buffer in buffers])
