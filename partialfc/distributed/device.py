"""The device of a rank, and what it computes fast."""

import torch

from partialfc.distributed.torchrun import local_rank
from partialfc.errors import ConfigError, DistributedError


def local_device(choice: str) -> torch.device:
    """This rank's device: "cpu", "cuda", or with "auto" cuda where there is a GPU.

    A rank's GPU is the one that has the number of its LOCAL_RANK. Raises ConfigError for another choice,
    DistributedError where the machine has no such GPU.
    """
    if choice not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device is {choice!r}; it must be auto, cpu or cuda")
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "cpu"
    if choice == "cpu":
        return torch.device("cpu")
    index, count = local_rank(), torch.cuda.device_count()
    if index >= count:
        raise DistributedError(
            f"local rank {index} needs CUDA device {index}, but this machine has {count}: "
            "start fewer processes a node, or choose the device cpu"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies matrices in bfloat16; without, they are slower than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
