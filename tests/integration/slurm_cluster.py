"""A Slurm cluster of two nodes on one machine: munged, slurmctld and two slurmd, with files of their own.

cred_expire is how long Slurm holds a requeued job back, two minutes unless told otherwise.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_for

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")
CONFIG = """
ClusterName=partialfc
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=15
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
KillWait=90
NodeName={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName={host}-b NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
"""


@dataclass(frozen=True)
class Cluster:
    folder: Path
    env: dict[str, str]

    def command(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """What a Slurm command prints; an AssertionError with its message if it fails."""
        result = subprocess.run(
            arguments, env=self.env | (env or {}), capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{' '.join(arguments)}: {result.stderr}"
        return result.stdout.strip()

    def state(self, job: str) -> str:
        """RUNNING, PENDING, COMPLETED, ..."""
        return self.show(job)["JobState"]

    def show(self, job: str) -> dict[str, str]:
        words = self.command("scontrol", "show", "job", "--oneliner", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)


def why_not() -> str:
    """What this machine lacks for the cluster; empty: nothing."""
    if os.geteuid() != 0:
        return "the Slurm daemons need root here"
    missing = [name for name in DAEMONS if shutil.which(name) is None]
    return (
        f"{', '.join(missing)} not found: install the Debian packages slurm-wlm and munge" if missing else ""
    )


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Cluster]:
    """The cluster, both nodes idle; the daemons are ended and their jobs killed whatever happens."""
    host = socket.gethostname()  # a node's name must resolve: the nodes meet at the first one's
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(host=host, folder=folder, ports=free_ports(3)))
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    (folder / "state").mkdir()
    cluster = Cluster(folder, {**os.environ, "SLURM_CONF": str(config)})
    socket_file = folder / "munge.socket"
    own = [f"--{what}-file={folder}/munge.{what}" for what in ("key", "pid", "log", "seed")]
    with ExitStack() as stack:
        munged = ["munged", "--foreground", "--force", f"--socket={socket_file}", *own]
        stack.enter_context(_daemon("munged", munged, cluster))
        wait_for(socket_file.exists, log=folder / "munged.out")
        stack.enter_context(_daemon("slurmctld", ["slurmctld", "-D", "-c"], cluster))
        for node in (host, f"{host}-b"):
            stack.enter_context(_daemon(f"slurmd-{node}", ["slurmd", "-D", "-N", node], cluster))
        wait_for(lambda: _idle_nodes(cluster) == 2, log=folder / "slurmctld.out")
        stack.callback(_end_jobs, cluster)
        yield cluster


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now, all different."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]


@contextmanager
def _daemon(name: str, command: list[str], cluster: Cluster) -> Iterator[None]:
    with (cluster.folder / f"{name}.out").open("wb") as log:
        process = subprocess.Popen(command, env=cluster.env, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _idle_nodes(cluster: Cluster) -> int:
    """How many nodes are idle; 0 while the controller does not answer yet."""
    listed = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"],
        env=cluster.env,
        capture_output=True,
        text=True,
        check=False,
    )
    return len(listed.stdout.split())


def _end_jobs(cluster: Cluster) -> None:
    """No job's process outlives the daemons that could end it."""
    cluster.command("scancel", "--user=root")
    cluster.command("scancel", "--user=root", "--signal=KILL", "--full")
    wait_for(
        lambda: not cluster.command("squeue", "--noheader"), log=cluster.folder / "slurmctld.out", seconds=120
    )
