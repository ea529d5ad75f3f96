"""Whether a rank's part of the job fits its memory."""

from pathlib import Path, PurePosixPath

import torch

from partialfc.doctor.check import Check, green, red, yellow
from partialfc.plan import Setting, memory_of
from partialfc.plan.advice import alternatives
from partialfc.plan.describe import options
from partialfc.plan.units import show_bytes

TIGHT = 0.9  # of the memory: the allocator's own needs and other programs come on top
CGROUPS = Path("/sys/fs/cgroup")
NO_LIMIT = 1 << 62


def available(device: torch.device, *, ranks: int) -> int:
    """Bytes that one of `ranks` ranks on this machine may take of its GPU, or of the host's memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    own = Path("/proc/self/cgroup").read_text()
    return min(_system(), cgroup_room(CGROUPS, own)) // ranks


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


def cgroup_room(root: Path, own: str) -> int:
    """Bytes that the limits of a container or a batch job leave, the narrowest from the own group upwards.

    root: where the groups are mounted; own: /proc/self/cgroup, "number:controllers:path" a line. A container
    may see its own group as the root, so a group that is not there has no limit of its own.
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
    """Of one group; file pages that can be given back do not count as taken."""
    try:
        most = (group / limit).read_text().strip()
        taken = int((group / usage).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except OSError:
        return NO_LIMIT
    return NO_LIMIT if most == "max" else max(0, int(most) - taken + int(stat.get(reclaimable, 0)))
