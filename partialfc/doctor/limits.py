"""Checks of the system's limits: open files, shared memory, ports."""

import errno
import os
import resource
import socket
from pathlib import Path

from partialfc.doctor.check import Check, green, red, yellow
from partialfc.plan.units import show_bytes

SHM = Path("/dev/shm")
FILES = 256  # that Python, torch and the run itself open
FILES_A_WORKER = 16  # its queues, and the shared memory of its batches
FILES_A_RANK = 4  # sockets to each other rank
READ_AHEAD = 3  # batches of a worker: two that wait, and the one that it is making


def check_files(*, workers: int, ranks: int) -> Check:
    """workers: of this rank; ranks: of the job."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return judge_files(soft, hard, FILES + FILES_A_WORKER * workers + FILES_A_RANK * ranks)


def judge_files(soft: int, hard: int, need: int) -> Check:
    """soft, hard: the limits of open files, -1 where there is none; need: how many the job opens at most."""
    if soft == resource.RLIM_INFINITY or soft >= need:
        return green("open files", f"at most {'any number' if soft < 0 else soft}, some {need} needed")
    says = f"at most {soft} (ulimit -n), some {need} needed"
    allowed = hard == resource.RLIM_INFINITY or hard >= need
    remedy = f"ulimit -n {need}" if allowed else f"raise the hard limit, {hard}, to {need} (limits.conf)"
    return red("open files", says, remedy)


def check_shared_memory(*, batch_bytes: int, workers: int, ranks: int, shm: Path = SHM) -> Check:
    """Batches go through it. batch_bytes: of a rank's batch; workers: of a rank; ranks: of this machine."""
    if not shm.exists():
        return red("shared memory", f"{shm} does not exist", f"mount a tmpfs at {shm}, or set data.workers=0")
    space = os.statvfs(shm)
    return judge_shared_memory(space.f_bavail * space.f_frsize, READ_AHEAD * batch_bytes * workers * ranks)


def judge_shared_memory(free: int, need: int) -> Check:
    """free, need: bytes."""
    says = f"{show_bytes(free)} free in {SHM}, {show_bytes(need)} needed for batches of loader workers"
    if need == 0:
        return green("shared memory", f"{show_bytes(free)} free in {SHM}, none needed without loader workers")
    if free < need:
        remedy = (
            f"docker run --shm-size={-(-need // 2**30)}g, in Kubernetes an emptyDir of medium Memory at "
            f"{SHM}, or fewer data.workers"
        )
        return red("shared memory", says, remedy)
    if free < 2 * need:
        return yellow("shared memory", says, "make it twice as large: other programs use it too")
    return green("shared memory", says)


def check_metrics_port(bind: str, port: int | None, *, rank: int) -> Check:
    """The port must be free, or training goes on without metrics. rank: LOCAL_RANK, added to the port."""
    if port is None:
        return green("metrics port", "off, metrics.port is null")
    if port == 0:
        return green("metrics port", f"any free one on {bind}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            bind, port + rank, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself will
            probe.bind(address)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        remedy = (
            "end what listens there, or set another metrics.port (0: any free one)"
            if taken
            else "set metrics.bind to an address of this machine, or to 0.0.0.0"
        )
        says = f"{bind}:{port + rank} cannot be used, so nothing will be served: {error.strerror}"
        return yellow("metrics port", says, remedy)
    return green("metrics port", f"{bind}:{port + rank} is free")
