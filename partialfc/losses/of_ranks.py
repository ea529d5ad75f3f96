"""A loss that all ranks call together: its process group, and what becomes of that in copies and pickles."""

import copy
import zlib
from abc import ABC
from typing import Any, Self

import torch
from torch import Tensor, nn

from partialfc.distributed.accelerator import on_device
from partialfc.distributed.world import World
from partialfc.head.agreement import Agreed
from partialfc.head.surroundings import check_built_after_group


class LossOfRanks(nn.Module, ABC):
    """A module that computes one loss on all ranks of a process group.

    Attributes:
        world (World): The ranks of the process group.
    """

    def __init__(self, world: World, about: object) -> None:
        """about: all that must be the same on every rank; its repr is compared."""
        super().__init__()
        self.world = world
        self._digest = zlib.crc32(repr((type(self).__name__, about)).encode())

    def check(self) -> None:
        """Raises RuntimeError where the loss would be wrong without an error."""
        check_built_after_group(self.world, "loss")

    def math_dtype_for(self, embeddings: Tensor) -> torch.dtype:
        """What the loss of these embeddings is computed in: float64 for such, else float32."""
        return torch.float64 if embeddings.dtype == torch.float64 else torch.float32

    def device_for(self, rows: Tensor) -> torch.device:
        """Where a call's rows must be: anywhere, unless the loss keeps something on a device."""
        return rows.device if isinstance(rows, Tensor) else torch.device("cpu")

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which keep no process group."""
        return self.__dict__ | {"world": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """From a pickle: the loss joins the default process group."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.world = self.default_world()

    def default_world(self) -> World:
        """The default process group, for a loss from a pickle."""
        return World.of()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy in the same process group."""
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__getstate__(), memo), world=self.world)
        return copied


def valid_rows(rows: Tensor, agreed: Agreed) -> Tensor:
    """This rank's rows [B, ...] -> those of its valid samples [V, ...]."""
    if len(agreed.valid) == len(rows):
        return rows
    return rows[on_device(torch.from_numpy(agreed.valid), rows.device)]


def of_all_samples(gradient: Tensor, agreed: Agreed, embeddings: Tensor) -> Tensor:
    """The valid samples' gradient [V, D] -> that of all embeddings [B, D], 0 for ignored ones."""
    if len(gradient) == len(embeddings):
        return gradient
    everything = gradient.new_zeros(embeddings.shape)
    everything[on_device(torch.from_numpy(agreed.valid), gradient.device)] = gradient
    return everything
