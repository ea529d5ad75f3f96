"""The device of a rank, by the name that torch has for its kind, and what it computes fast."""

import torch
import torch.distributed as dist

from partialfc.distributed.accelerator import accelerator_here
from partialfc.distributed.torchrun import local_rank
from partialfc.errors import ConfigError, DistributedError

FLOAT16_CORES = (7, 0)  # the first compute capability whose tensor cores multiply float16


def local_device(choice: str, *, name: str = "train.device") -> torch.device:
    """This rank's device: "cpu", the machine's accelerator by its name, or with "auto" that or else the CPU.

    A rank's accelerator is the one that has the number of its LOCAL_RANK. Raises ConfigError, which calls the
    choice `name`, for one that torch does not know or the machine lacks; DistributedError where it has too
    few, or none that works. With "auto" it is also the CPU where the accelerator has no float64, which the
    centres need.
    """
    present = accelerator_here()
    if choice == "auto":
        choice = "cpu" if present is None or not _has_float64(present) else present
    if choice == "cpu":
        return torch.device("cpu")
    _check_known(choice, name)
    if choice != present:
        raise ConfigError(
            f"{name} is {choice!r}, but torch finds no such accelerator on this machine: it finds "
            f"{present or 'none'}; choose {f'{present}, ' if present else ''}cpu or auto"
        )
    index, count = local_rank(), torch.accelerator.device_count()
    if index >= count:
        raise DistributedError(
            f"local rank {index} needs {choice} device {index}, but this machine has {count}: "
            "start fewer processes a node, or choose the device cpu"
        )
    torch.accelerator.set_device_index(index)
    device = torch.device(choice, index)
    try:
        torch.zeros(1, device=device)  # the driver may refuse what it lists
    except RuntimeError as error:
        raise DistributedError(f"{device} cannot be used: {str(error).splitlines()[0]}") from error
    if not _has_float64(choice):
        raise ConfigError(f"{name} is {choice!r}, which has no float64, but the head needs it: use cpu")
    return device


def backends_for(device: torch.device) -> str:
    """What torch.distributed.init_process_group is to be given by ranks on such devices.

    gloo carries what is on the CPU, and torch's own choice for the accelerator, such as NCCL, what is there.
    Raises ConfigError where this torch has none for it.
    """
    own = own_backend(device)
    if own is None:
        return "gloo"
    if not has_own_backend(device):
        raise ConfigError(
            f"this torch has no {own}, which would carry tensors of {device.type} between ranks: install "
            f"torch's build for {device.type} or the package that serves it, start one process, or use cpu"
        )
    return f"cpu:gloo,{device.type}:{own}"


def own_backend(device: torch.device) -> str | None:
    """The backend of torch.distributed for an accelerator's tensors, such as "nccl"; None on the CPU."""
    if device.type == "cpu":
        return None
    try:
        return dist.get_default_backend_for_device(device)
    except ValueError:
        return f"backend for {device.type}"


def has_own_backend(device: torch.device) -> bool:
    """Whether this torch can exchange tensors that are on such devices."""
    own = own_backend(device)
    return own is None or bool(dist.is_backend_available(own))


def usable_device(name: str, choice: torch.device | str | int | None) -> torch.device:
    """A device of this machine, with its index; None: torch's default device, an int: that accelerator.

    Raises ValueError for what is no device, or none of this machine; name: of the argument.
    """
    if isinstance(choice, bool) or not isinstance(choice, torch.device | str | int | None):
        raise ValueError(f"{name} is {choice!r}; it must be a torch.device, a name such as 'cuda:0', or None")
    try:
        device = torch.get_default_device() if choice is None else torch.device(choice)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{name} is {choice!r}; it must be a device that torch knows, such as 'cpu', 'cuda' or 'cuda:1', "
            f"or the index of an accelerator. This machine has {_described_here()}"
        ) from error
    absent = f"{name} is {choice!r}, but this machine has {_described_here()}"
    if device.type not in ("cpu", "meta") and device.type != accelerator_here():
        raise ValueError(absent)
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"{absent}: {str(error).splitlines()[0]}") from error


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies matrices in bfloat16; without, they are slower than in float32."""
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    module = torch.get_device_module(device)
    if hasattr(module, "is_bf16_supported"):
        return bool(module.is_bf16_supported())
    return _autocasts_to(torch.bfloat16, device)


def has_float16(device: torch.device) -> bool:
    """Whether the hardware multiplies matrices in float16 faster than in float32; no CPU's does."""
    if device.type == "cpu":
        return False
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= FLOAT16_CORES
    return _autocasts_to(torch.float16, device)


def autocast_dtype(amp: str | None, device: torch.device) -> torch.dtype | None:
    """What a network's products run in on `device` under `train.amp` and the like; None: float32."""
    if amp == "float16":
        return torch.float16
    wanted = amp == "bfloat16" or (amp == "auto" and has_bfloat16(device))
    return torch.bfloat16 if wanted else None


def _autocasts_to(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether torch.autocast takes the type on this kind of accelerator."""
    supported = getattr(torch.get_device_module(device), "get_amp_supported_dtype", list)
    return dtype in supported()


def _check_known(kind: str, name: str) -> None:
    """ConfigError for what is no name of a kind of accelerator that training could run on."""
    try:
        device = torch.device(kind)
    except (RuntimeError, ValueError):
        device = None
    if device is not None and device.index is not None:
        raise ConfigError(
            f"{name} is {kind!r}; give the kind alone, {device.type}: a rank takes the one that has the "
            "number of its LOCAL_RANK (CUDA_VISIBLE_DEVICES and the like choose others)"
        )
    if device is None or device.type == "meta":
        raise ConfigError(
            f"{name} is {kind!r}, which this torch does not know; it must be auto, cpu, or the name of an "
            f"accelerator such as cuda or xpu. This machine has {_described_here()}"
        )


def _has_float64(kind: str) -> bool:
    """Whether the accelerator computes in float64, as the centres' optimizers do with a few numbers."""
    try:  # MPS has none, nor have some of Intel's GPUs
        return (torch.ones(1, dtype=torch.float64, device=kind) + 1.0).item() == 2.0
    except (RuntimeError, TypeError):
        return False


def _described_here() -> str:
    kind = accelerator_here()
    if kind is None:
        return "no accelerator"
    count = torch.accelerator.device_count()
    return f"{count} {kind} device{'' if count == 1 else 's'}"
