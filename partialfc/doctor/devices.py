"""Checks of a rank's device, of the cores that ranks share, and of the backend between ranks."""

import os
from pathlib import Path

import torch

from partialfc.distributed.accelerator import is_accelerator, properties
from partialfc.distributed.device import (
    has_bfloat16,
    has_float16,
    has_own_backend,
    local_device,
    own_backend,
)
from partialfc.doctor.check import Check, green, red, yellow
from partialfc.doctor.network import backends_with_interface
from partialfc.errors import ConfigError, DistributedError
from partialfc.plan.units import show_bytes

BUSY = 1.5  # load per core above which measured times cannot be trusted


def local_ranks() -> int:
    """How many ranks run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_device(choice: str) -> tuple[Check, torch.device | None]:
    """choice: train.device. The device is None where the rank cannot have it."""
    try:
        device = local_device(choice)
    except ConfigError as error:
        return red("device", str(error), "set train.device=auto"), None
    except DistributedError as error:
        remedy = "start one process a GPU (torchrun --nproc-per-node), or set train.device=cpu"
        return red("device", str(error), remedy), None
    if is_accelerator(device):
        memory = show_bytes(torch.accelerator.get_memory_info(device)[1])
        return green("device", f"{device}, {properties(device).name}, {memory}"), device
    unused = Path("/dev/nvidia0").exists() and choice == "auto"
    made = judge_cpu(
        cores(), torch.get_num_threads(), local_ranks(), load=os.getloadavg()[0], unused_gpu=unused
    )
    return made, device


def judge_cpu(cores: int, threads: int, ranks: int, *, load: float, unused_gpu: bool) -> Check:
    """cores: of the machine; threads: of each of its `ranks`; load: its load average over the last minute.

    unused_gpu: whether the machine has a GPU that torch cannot use.
    """
    says = f"cpu, {cores} cores for ranks x threads: {ranks} x {threads}"
    if unused_gpu:
        return yellow(
            "device", f"{says}, but there is a GPU here", "install the CUDA build of torch, and its driver"
        )
    if ranks * threads > cores:
        fitting = max(1, cores // ranks)
        return yellow(
            "device",
            f"{says}: threads will wait for each other",
            f"set train.threads or OMP_NUM_THREADS to {fitting}",
        )
    if load > BUSY * cores:
        return yellow(
            "device",
            f"{says}, but the load is {load:.1f}: other programs run, so times measured now are too long",
            "wait until they are done, or use a machine that the job has for itself",
        )
    return green("device", says)


def check_amp(amp: str | None, device: torch.device) -> Check:
    """amp: train.amp."""
    return judge_amp(amp, device.type, bfloat16=has_bfloat16(device), float16=has_float16(device))


def judge_amp(amp: str | None, device: str, *, bfloat16: bool, float16: bool) -> Check:
    """Does the type that the backbone is autocast to suit such a device, with these instructions?

    A GPU with float16 alone is a V100, a T4 or the like.
    """
    suits = "float16" if float16 and not bfloat16 else "auto"
    if amp == "bfloat16" and not bfloat16:
        says = "bfloat16, for which this device has no instructions, so it is slower than float32"
        return yellow("amp", says, f"set train.amp to {suits}")
    if amp == "float16" and device == "cpu":
        says = "float16, which is slow on a CPU"
        return yellow("amp", says, "set train.amp to auto, which takes bfloat16 where the CPU has it")
    if amp == "auto" and suits == "float16":
        says = "none, because auto takes bfloat16 alone, for which this GPU has no instructions"
        return yellow("amp", says, "set train.amp to float16, which this GPU multiplies fastest")
    if amp == "float16" and bfloat16:
        return green("amp", "float16 with a loss scale; bfloat16, which this GPU has too, needs none")
    chosen = amp if amp != "auto" else "bfloat16" if bfloat16 else "none"
    faster = "bfloat16" if bfloat16 else "float16" if float16 else None
    hint = f"; {faster} would be faster here" if amp is None and faster else ""
    return green("amp", f"{chosen or 'none'}{hint}")


def check_backend(device: torch.device, ranks: int) -> Check:
    kinds = [backend.upper() for backend in backends_with_interface(device.type)]
    chosen = [os.environ.get(f"{kind}_SOCKET_IFNAME", "").lstrip("=") for kind in kinds]
    named = [f"{name or 'any interface'} ({kind})" for kind, name in zip(kinds, chosen, strict=True)]
    interface = chosen[0] if len(set(chosen)) == 1 else " and ".join(named)
    own, available = own_backend(device), has_own_backend(device)
    return judge_backend(device.type, ranks, own=own, available=available, interface=interface or None)


def judge_backend(
    device: str, ranks: int, *, own: str | None, available: bool, interface: str | None
) -> Check:
    """own: the accelerator's backend, such as "nccl", and whether this torch has it; None on the CPU.

    interface: what it is set to, if it is: of gloo, and of the accelerator's backend too.
    """
    if ranks == 1:
        return green("backend", "none needed, there is one rank")
    if not available:
        says = f"this torch has no {own}, which would carry tensors of {device} between ranks"
        return red("backend", says, f"install torch's build for {device}")
    kind = "gloo" if own is None else f"gloo and {own.upper()}"
    return green("backend", f"{kind} over {interface or 'the interface that the host name stands for'}")
