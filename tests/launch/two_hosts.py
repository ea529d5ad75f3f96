"""Two "hosts" on one machine: network namespaces with a cable (veth) between them. Linux, root, iproute2."""

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Host:
    """A network namespace with one interface beside lo."""

    name: str
    interface: str
    address: str

    def start(self, command: list[str], log: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
        """The command here, its output in `log`; its pid is the command's own."""
        with log.open("wb") as file:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                env=os.environ | env,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def output(self, command: list[str]) -> str:
        """What the command prints here; CalledProcessError if it fails."""
        return _ip("netns", "exec", self.name, *command)


def why_not() -> str:
    """What this machine lacks for namespaces; empty: nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "the Debian package iproute2 is not installed"
    probe = f"pfc-{uuid.uuid4().hex[:6]}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"this machine makes no network namespaces: {made.stderr.strip()}"
    _ip("netns", "del", probe)
    return ""


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two connected hosts; at the end their processes are killed and both are gone, whatever happened."""
    mark = uuid.uuid4().hex[:6]
    hosts = tuple(Host(f"pfc-{mark}-{i}", f"v{mark}{i}", f"10.213.47.{i}") for i in (1, 2))
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
            _ip("-n", host.name, "link", "set", "lo", "up")
        first, second = hosts
        ends = ("type", "veth", "peer", "name", second.interface, "netns", second.name)
        _ip("link", "add", first.interface, "netns", first.name, *ends)
        for host in hosts:
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", host.interface)
            _ip("-n", host.name, "link", "set", host.interface, "up")
        yield first, second
    finally:
        for host in hosts:
            _remove(host.name)


def _remove(name: str) -> None:
    """Deleting a namespace deletes its end of the cable, once no process is left in it."""
    inside = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    for pid in inside.stdout.split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout
