"""What this machine has for a training."""

import os
from dataclasses import dataclass

import torch

from partialfc.distributed.accelerator import is_accelerator, properties
from partialfc.distributed.device import has_bfloat16, has_float16, local_device
from partialfc.doctor.devices import cores
from partialfc.doctor.memory_fit import available


@dataclass(frozen=True, slots=True)
class Machine:
    """`accelerators` with the name `name` and `memory` bytes free on each, or none and the host's `memory`.

    cores: of the host. kind: of device, as torch names it. ranks: that train, on all machines together; here:
    on this one. bfloat16, float16: whether the device multiplies them fast.
    """

    cores: int
    accelerators: int
    kind: str
    name: str
    memory: int
    ranks: int
    here: int
    bfloat16: bool
    float16: bool

    @property
    def has_accelerator(self) -> bool:
        return self.accelerators > 0

    @property
    def rank_memory(self) -> int:
        """Bytes that one rank can have, where ranks without accelerators are all on this machine."""
        return self.memory if self.has_accelerator else self.memory // self.here

    def describe(self) -> str:
        counted = f"{self.cores} core{'' if self.cores == 1 else 's'}"
        return (
            f"{counted} and {f'{self.accelerators} x {self.name}' if self.accelerators else 'no accelerator'}"
        )


def this_machine(choice: str = "auto", *, ranks: int | None = None) -> Machine:
    """choice: train.device. ranks: those that train, on all machines; None: one for each accelerator, or one.

    Raises ConfigError or DistributedError for a device that cannot be had.
    """
    device = local_device(choice)
    accelerators = torch.accelerator.device_count() if is_accelerator(device) else 0
    ranks = ranks or max(1, accelerators)
    return Machine(
        cores=cores(),
        accelerators=accelerators,
        kind=device.type,
        name=str(properties(device).name) if accelerators else "",
        memory=available(device, ranks=1),
        ranks=ranks,
        here=int(os.environ.get("LOCAL_WORLD_SIZE", ranks)),
        bfloat16=has_bfloat16(device),
        float16=has_float16(device),
    )
