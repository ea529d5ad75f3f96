"""Checks whether a rank's part of the job fits its memory."""

from pathlib import Path, PurePosixPath

import torch

from partialfc.distributed.accelerator import is_accelerator
from partialfc.doctor.check import Check, green, red, yellow
from partialfc.plan import PoolSetting, Setting, memory_of
from partialfc.plan.advice import alternatives
from partialfc.plan.describe import as_options
from partialfc.plan.pool_memory import pool_memory_of
from partialfc.plan.units import show_bytes

TIGHT = 0.9  # share of the memory that may be planned for; the allocator and other programs need some
CGROUPS = Path("/sys/fs/cgroup")
NO_LIMIT = 1 << 62


def available(device: torch.device, *, ranks: int) -> int:
    """Bytes that one of this machine's `ranks` ranks can have: of its own GPU, or its share of the host's."""
    if is_accelerator(device):
        torch.accelerator.empty_cache()
        return torch.accelerator.get_memory_info(device)[0]
    own = Path("/proc/self/cgroup").read_text()
    return min(_system(), cgroup_room(CGROUPS, own)) // ranks


def judge_memory(
    setting: Setting | PoolSetting, *, backbone: int, available: int, with_activations: bool
) -> Check:
    """backbone: bytes of the network, its gradients and optimizer, and with_activations also of a batch's."""
    if isinstance(setting, PoolSetting):
        name, head = "pool and gallery", pool_memory_of(setting).total
    else:
        name, head = "head", memory_of(setting).total
    network = "backbone" if with_activations else "backbone without its activations"
    says = (
        f"a rank needs {show_bytes(head + backbone)} ({name} {show_bytes(head)}, {network} "
        f"{show_bytes(backbone)}) of {show_bytes(available)}"
    )
    if head + backbone <= TIGHT * available:
        return green("memory", says)
    remedy = _remedy(setting, int(TIGHT * available) - backbone)
    if head + backbone <= available:
        return yellow("memory", says, remedy)
    return red("memory", f"{says}: it does not fit", remedy)


def _remedy(setting: Setting | PoolSetting, room: int) -> str:
    """The smallest change that fits, as options of `partialfc plan`."""
    if isinstance(setting, PoolSetting):
        return "lower head.pool.size, train.batch_size or data.image_size, or set head.pool.shard=true"
    if room > 0:
        for each in alternatives(setting, room):
            if each.fits:
                return f"{as_options(each.changes)} would fit; partialfc plan CONFIG --memory ... shows more"
    return "lower train.batch_size or data.image_size, or take devices with more memory"


def _system() -> int:
    """Bytes of the host's memory that programs can still get."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")


def cgroup_room(root: Path, own: str) -> int:
    """Bytes that the limits of a container or a batch job leave: the least of this group and those above it.

    root: where the control groups are mounted; own: the text of /proc/self/cgroup, with lines
    "number:controllers:path". A container may see its own group as the root; one that is not there has no
    limit.
    """
    room = NO_LIMIT
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        group = PurePosixPath(path)
        for each in (group, *group.parents):
            below = str(each).lstrip("/")
            if not controllers:
                room = min(room, _room(root / below, "memory.max", "memory.current", "inactive_file"))
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                room = min(room, _room(root / "memory" / below, *names))
    return room


def _room(group: Path, limit: str, usage: str, reclaimable: str) -> int:
    """What one group's limit leaves; the file cache, which can be freed, does not count as used."""
    try:
        most = (group / limit).read_text().strip()
        taken = int((group / usage).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except OSError:
        return NO_LIMIT
    return NO_LIMIT if most == "max" else max(0, int(most) - taken + int(stat.get(reclaimable, 0)))
