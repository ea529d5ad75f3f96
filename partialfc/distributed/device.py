"""A rank's device."""

import torch

from partialfc.distributed.torchrun import local_rank
from partialfc.errors import ConfigError, DistributedError


def local_device(choice: str) -> torch.device:
    """ "auto", "cpu" or "cuda" -> this rank's device; a rank's GPU is that of its LOCAL_RANK."""
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
    """Whether matrix products in bfloat16 run in hardware there, rather than slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
