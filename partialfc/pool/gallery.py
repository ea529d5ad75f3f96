"""The gallery network: a network that follows another one as its exponential moving average."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from partialfc.head.arguments import at_least


class GalleryNetwork(nn.Module):
    """A copy of the probe network that follows it: each parameter g <- momentum · g + (1 - momentum) · p.

    Gives the features of a `DynamicClassPool`. It gets no gradient, and is always in eval mode: an image's
    feature depends on no other image of its batch, so it is the same at any number of ranks. Running
    statistics are the probe's own, as they are, since an average of them would begin with those of no image.

    Wang et al. 2022, "An Efficient Training Approach for Very Large Scale Face Recognition"
    (arXiv:2105.10375), the Gallery Net, whose code computes normalisations from the gallery's own batch.

    Args:
        probe (torch.nn.Module): The network that is trained, not yet in DistributedDataParallel.
        momentum (float): In [0, 1): 0 makes it the probe itself. Default 0.99.

    Raises:
        ValueError: for a momentum out of its range.
    """

    def __init__(self, probe: nn.Module, *, momentum: float = 0.99) -> None:
        super().__init__()
        self.momentum = at_least("momentum", momentum, 0.0, below=1.0)
        self.network = copy.deepcopy(probe).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "GalleryNetwork":
        """It stays in eval mode, whatever the module around it is asked for."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """What the probe would give in eval mode, such as embeddings [B, D]; without gradient."""
        return self.network(*inputs)

    @torch.no_grad()
    def follow(self, probe: nn.Module, skip: Tensor | None = None, *, statistics: bool = True) -> None:
        """Move towards the probe, once after each step of its optimizer.

        Args:
            probe (torch.nn.Module): The network that it was built from, as it is now.
            skip (Tensor | None): [], 1 to stay as it is, 0 to move; None (default) moves. It may lie on an
                accelerator, which nothing waits for.
            statistics (bool): Take over the running statistics too (default). In DistributedDataParallel
                these are each rank's own after a step, and rank 0's in the next forward pass of the network,
                but not in one under `no_sync` that follows another: where the ranks' galleries shall be
                equal, leave them out here, and call `take_statistics` in the first forward pass of a step.

        Raises:
            ValueError: for a network whose parameters have other names.
        """
        mine, others = dict(self.network.named_parameters()), dict(probe.named_parameters())
        if mine.keys() != others.keys():
            raise ValueError(
                f"probe has the parameters {list(others)[:2]}..., and the network that the gallery was built "
                f"from {list(mine)[:2]}...: pass that network itself; of DistributedDataParallel it is "
                "its .module, of torch.compile its ._orig_mod"
            )
        for name, parameter in mine.items():
            moved = parameter.lerp(others[name], 1.0 - self.momentum)
            parameter.copy_(moved if skip is None else torch.where(skip != 0, parameter, moved))
        if statistics:
            self.take_statistics(probe, skip)

    @torch.no_grad()
    def take_statistics(self, probe: nn.Module, skip: Tensor | None = None) -> None:
        """Make the probe's buffers, such as running statistics, its own; arguments as of `follow`."""
        for mine, its in zip(self.network.buffers(), probe.buffers(), strict=True):
            mine.copy_(its if skip is None else torch.where(skip != 0, mine, its))

    def extra_repr(self) -> str:
        return f"momentum={self.momentum}"
