"""Whether a rank's part of the job fits its memory."""

from pathlib import Path

import torch

from partialfc.doctor.check import Check, green, red, yellow
from partialfc.plan import Setting, memory_of
from partialfc.plan.advice import alternatives
from partialfc.plan.report import options
from partialfc.plan.units import show_bytes

TIGHT = 0.9  # of the memory: the allocator's own needs and other programs come on top
CGROUP = Path("/sys/fs/cgroup")


def available(device: torch.device, *, ranks: int) -> int:
    """Bytes that one of `ranks` ranks on this machine may take of its GPU, or of the host's memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    room = min(_system(), _cgroup(CGROUP))
    return room // ranks


def judge_memory(setting: Setting, *, backbone: int, available: int, with_activations: bool) -> Check:
    """backbone: bytes of the network, its gradients and optimizer, and what a batch adds where measured."""
    head = memory_of(setting).total
    network = "backbone" if with_activations else "backbone without its activations"
    says = (
        f"a rank needs {show_bytes(head + backbone)} (head {show_bytes(head)}, {network} "
        f"{show_bytes(backbone)}) of {show_bytes(available)}"
    )
    if head + backbone <= TIGHT * available:
        return green("memory", says)
    remedy = _remedy(setting, int(TIGHT * available) - backbone)
    if head + backbone <= available:
        return yellow("memory", says, remedy)
    return red("memory", f"{says}: it does not fit", remedy)


def _remedy(setting: Setting, room: int) -> str:
    """The mildest change that fits, in the words of `partialfc plan`."""
    if room > 0:
        for each in alternatives(setting, room):
            if each.fits:
                return f"{options(each.changes)} would fit; partialfc plan CONFIG --memory ... shows more"
    return "lower train.batch_size or data.image_size, or take devices with more memory"


def _system() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")


def _cgroup(folder: Path) -> int:
    """What a container's limit leaves; file pages that can be given back do not count as taken."""
    limit = folder / "memory.max"
    if not limit.exists() or limit.read_text().strip() == "max":
        return 1 << 62
    taken = int((folder / "memory.current").read_text())
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return max(0, int(limit.read_text()) - taken + int(stat.get("inactive_file", 0)))
