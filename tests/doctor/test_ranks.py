"""The doctor on several ranks: real processes that meet, miss each other, or have little between them."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import yaml

from partialfc.config import Config
from partialfc.distributed import World
from partialfc.doctor import Check, Level, Report, describe, examine
from partialfc.doctor.check import green
from partialfc.doctor.examine import _together, judge_ranks
from partialfc.doctor.host_clocks import judge_clocks, measure_clocks
from partialfc.doctor.link import FIRST, LARGEST, Link, Rate, measure_link
from partialfc.doctor.meeting import Meeting
from partialfc.doctor.network import (
    Step,
    gradient_seconds,
    head_seconds,
    judge_communication,
)
from partialfc.doctor.rank import Found
from partialfc.errors import DistributedError
from partialfc.plan import Setting
from partialfc.plan.communication import communication_of
from tests import train_cases
from tests.paths import ROOT

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
FAST = Rate(latency=20e-6, bandwidth=50e9)
SLOW = Rate(latency=1e-3, bandwidth=100e6 / 8)
JOB = Setting(classes=10_000_000, embedding=512, gpus=8, batch=128, sample_rate=0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def saved_config(folder: Path, *overrides: str) -> Path:
    train_cases.write_data(folder)
    path = folder / "config.yaml"
    config = train_cases.small_config(folder, *overrides)
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return path


def place(rank: int, port: int, *, address: str = "127.0.0.1") -> dict[str, str]:
    """A rank of two in the words that Slurm's srun or a shell uses where no torchrun does."""
    return {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": address, "MASTER_PORT": str(port)}


def start(*arguments: object, environment: dict[str, str], before: tuple[str, ...] = ()) -> subprocess.Popen:
    return subprocess.Popen(
        [*before, sys.executable, "-m", "partialfc", "doctor", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def examined(config: Config | None, *, timeout: float) -> Report:
    """As rank 0 of those that the environment speaks of."""
    reports = list[Report]()
    examine(config, quick=True, timeout=timeout, show=reports.append)
    (report,) = reports
    return report


def told(*checks: str, device: str = "cpu", host: str = "a") -> Found:
    return Found(host, {}, device, tuple(green(name, "fine") for name in checks))


# Judging


def test_missing_and_silent_ranks_are_red_and_named():
    everyone = [told(), None, told(), None]
    missing = judge_ranks(everyone, absent=[1, 3])
    assert missing.level == Level.RED
    assert "ranks 1, 3 did not arrive" in missing.says
    assert "ranks 1, 3 fell silent" in judge_ranks(everyone, absent=[]).says
    mixed = judge_ranks([told(device="cuda"), told()], absent=[])
    assert mixed.level == Level.RED
    assert "only rank 0" in mixed.says
    assert judge_ranks([told(), told(host="b")], absent=[]).says == "2 answered, on 2 hosts"


def test_what_a_rank_found_survives_the_way():
    found = told("a", "b")
    assert Found.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_clocks_apart_are_yellow_then_red():
    assert judge_clocks([0.0, 0.2], ["a", "b"]).level == Level.GREEN
    assert judge_clocks([0.0, -3.0], ["a", "b"]).level == Level.YELLOW
    late = judge_clocks([0.0, 0.1, -20.0], ["a", "a", "b"])
    assert late.level == Level.RED
    assert "b (rank 2) is 20.1 s behind that of a (rank 1)" in late.says
    both = judge_clocks([0.0, 8.0, -8.0], ["a", "b", "c"])  # each is near rank 0, but not the other
    assert both.level == Level.RED
    assert "c (rank 2) is 16.0 s behind that of b (rank 1)" in both.says


def test_a_step_is_estimated_as_the_plan_counts_it():
    """At one bandwidth for every collective the head's part is the plan's own figure."""
    link = Link(all_reduce=SLOW, all_gather=SLOW)
    planned = communication_of(JOB, bandwidth=SLOW.bandwidth, latency=SLOW.latency).seconds
    assert head_seconds(JOB, link) == pytest.approx(planned)
    micro = dataclasses.replace(JOB, accumulation=4)
    assert head_seconds(micro, link) == pytest.approx(4 * planned)
    assert gradient_seconds(250_000_000, 8, link) == pytest.approx(10 * 1e-3 + 250e6 * 1.75 / 12.5e6)


def test_a_network_that_makes_34_hours_1241_is_red_and_says_so():
    usual = {"gradients": 261_000_000, "step": Step(compute=0.3, backward=0.15), "steps": 400_000}
    fast = judge_communication(Link(FAST, FAST), JOB, backend="cuda", **usual)
    assert fast.level == Level.GREEN
    slow = judge_communication(Link(SLOW, SLOW), JOB, backend="cuda", **usual)
    assert slow.level == Level.RED
    assert "in place of 33.3 h" in slow.says
    assert "NCCL_SOCKET_IFNAME" in slow.remedy
    assert "GLOO_SOCKET_IFNAME" in judge_communication(Link(SLOW, SLOW), JOB, backend="cpu", **usual).remedy


def test_gradients_cost_only_what_the_backward_pass_does_not_hide():
    link = Link(all_reduce=Rate(0.0, 1e9), all_gather=Rate(0.0, 1e12))
    usual = {"gradients": 100_000_000, "steps": 10**6, "backend": "cuda"}  # 0.175 s
    hidden = judge_communication(link, JOB, step=Step(compute=0.3, backward=0.2), **usual)
    assert hidden.level == Level.GREEN
    bare = judge_communication(link, JOB, step=Step(compute=0.3, backward=0.01), **usual)
    assert bare.level == Level.YELLOW


# Measuring


def clocks_with_a_late_rank() -> list[float]:
    world = World.of()
    shift = 20_000_000_000 if world.rank == 1 else 0
    return measure_clocks(world, lambda: time.time_ns() - shift)


def test_a_late_clock_is_measured(run_ranks):
    for offsets in run_ranks(clocks_with_a_late_rank, 3):
        assert offsets == pytest.approx([0.0, -20.0, 0.0], abs=1.0)
        assert judge_clocks(offsets, ["a", "b", "c"]).level == Level.RED


def a_link() -> Link:
    return measure_link(World.of(), torch.device("cpu"))


def test_every_rank_measures_the_same_link(run_ranks):
    first, second = run_ranks(a_link, 2)
    assert first == second
    for rate in (first.all_reduce, first.all_gather):
        assert 0 < rate.latency < 10
        assert 1e4 < rate.bandwidth < 1e12


def largest_message() -> int:
    world, sizes = World.of(), list[int]()
    world.traffic.observer = lambda _, size, __: sizes.append(size)
    measure_link(world, torch.device("cpu"))
    return max(sizes)


def test_no_message_outgrows_the_memory_however_many_ranks_send_it(run_ranks):
    assert all(FIRST < size <= LARGEST for size in run_ranks(largest_message, 3))


def test_a_link_that_cannot_be_measured_is_red():
    """A device without torch's support: not the network's failure, and no end of the report."""
    meeting = Meeting(timeout=10, environment={**place(0, free_port()), "WORLD_SIZE": "1"})
    failed = _together(meeting, told(device="xpu"), quick=False)
    assert isinstance(failed, Check)
    assert failed.level == Level.RED
    assert "IFNAME" not in failed.remedy


# Meeting


def test_two_ranks_under_torchrun_make_one_report(tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    config = saved_config(tmp_path)
    result = subprocess.run(
        [sys.executable, *launcher, "-m", "partialfc", "doctor", str(config), "--json"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    assert report["ranks"] == 2
    by_name = {check["name"]: check for check in report["checks"]}
    assert by_name["ranks"]["says"] == "2 answered, on 1 host"
    assert "all-reduce" in by_name["communication"]["says"]
    assert by_name["clocks"]["level"] == "green"
    assert by_name["labels"]["ranks"] == [0]
    assert sorted(rank for c in report["checks"] if c["name"] == "step" for rank in c["ranks"]) == [0, 1]


def test_every_rank_exits_with_the_status_of_all(tmp_path):
    """On the second node too, `doctor && train` must not start what rank 0 found to be red."""
    config = saved_config(tmp_path, "data.num_classes=19")  # of 20: only the first rank reads the data
    port = free_port()
    processes = [
        start(config, "--quick", environment=ENVIRONMENT | place(rank, port) | {"LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [1, 1], outputs
    assert "red     num_classes" in outputs[0][0]
    assert outputs[1][0] == ""


@pytest.fixture
def alone_as_rank_0(monkeypatch):
    """This process is rank 0 of 2, without torchrun; the port that it will listen on."""
    port = free_port()
    for name, value in place(0, port).items():
        monkeypatch.setenv(name, value)
    return port


@pytest.mark.usefixtures("alone_as_rank_0")
def test_a_missing_rank_is_named():
    report = examined(None, timeout=1)
    lines = describe(report, colour=False)
    assert "red     ranks         rank 1 did not arrive (2 are expected)" in lines
    assert "green   open files" in lines, "rank 0 still says what it found itself"


@pytest.mark.usefixtures("alone_as_rank_0")
def test_more_ranks_than_samples_are_red(tmp_path):
    train_cases.write_data(tmp_path)
    config = train_cases.small_config(tmp_path, "train.batch_size=1")
    report = examined(config, timeout=1)
    (check,) = [each.check for each in report.findings if each.check.name == "config"]
    assert check.level == Level.RED
    assert "train.batch_size is 1" in check.says


def test_a_rank_that_falls_silent_is_named(alone_as_rank_0):
    """It arrives and then tells nothing: what a rank does that hangs in its own checks."""
    arrivals = []

    def arrive() -> None:
        arrivals.append(Meeting(timeout=60, environment=place(1, alone_as_rank_0)).absent())

    other = threading.Thread(target=arrive)
    other.start()
    report = examined(None, timeout=8)
    other.join()
    assert arrivals == [[]]
    assert "rank 1 fell silent" in describe(report, colour=False)


def test_ranks_wait_for_each_other_before_they_measure(alone_as_rank_0):
    reached = []

    def other() -> None:
        meeting = Meeting(timeout=60, environment=place(1, alone_as_rank_0))
        meeting.absent()
        meeting.hear_first("ready", seconds=60)
        reached.append("step")
        meeting.wait_for_all("step")
        meeting.pass_by("step", "loading")

    meeting = Meeting(timeout=60)
    thread = threading.Thread(target=other)
    thread.start()
    assert meeting.absent() == []
    meeting.tell("ready", "yes")
    meeting.wait_for_all("step")
    assert reached == ["step"]
    meeting.timeout = 10_000  # a test that hangs here waits for a rank that is past it
    meeting.wait_for_all("loading")
    thread.join()


@pytest.mark.usefixtures("alone_as_rank_0")
def test_a_missing_rank_is_waited_for_once():
    meeting = Meeting(timeout=1)
    assert meeting.absent() == [1]
    meeting.timeout = 10_000  # a test that hangs here waits for it again
    meeting.wait_for_all("step")
    meeting.tell("found", "own")
    assert meeting.hear("found", "own") == ["own", None]


def test_without_rank_0_the_others_say_where_it_should_be():
    port = free_port()
    with pytest.raises(DistributedError, match=rf"rank 1 of 2: no answer at 127.0.0.1:{port} .* within 1 s"):
        Meeting(timeout=1, environment=place(1, port))


def test_a_master_port_that_is_taken_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(DistributedError, match=f"cannot listen on MASTER_PORT {port}"):
            Meeting(timeout=1, environment=place(0, port))


def test_ranks_that_cannot_connect_are_red_with_the_interface_to_set():
    """A wrong interface: they meet at the rendezvous, but have no way to exchange tensors."""
    port = free_port()
    processes = [
        start("--quick", environment=ENVIRONMENT | place(rank, port) | {"GLOO_SOCKET_IFNAME": "nosuch0"})
        for rank in range(2)
    ]
    outputs = [process.communicate() for process in processes]
    assert processes[0].returncode == 1
    assert "red     link" in outputs[0][0]
    assert "set GLOO_SOCKET_IFNAME" in outputs[0][0]


# A slow link


@pytest.fixture
def slow_link():
    """Two network namespaces, "hosts" joined by 20 Mbit/s; their names and addresses."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make network namespaces")
    hosts = [f"doctor-{os.getpid()}-{host}" for host in "ab"]
    commands = [["netns", "add", host] for host in hosts]
    commands.append(
        ["link", "add", "v0", "netns", hosts[0], "type", "veth", "peer", "name", "v1", "netns", hosts[1]]
    )
    for number, host in enumerate(hosts):
        commands += [
            ["-n", host, "addr", "add", f"10.97.0.{number + 1}/24", "dev", f"v{number}"],
            ["-n", host, "link", "set", f"v{number}", "up"],
            ["-n", host, "link", "set", "lo", "up"],
        ]
    try:
        for command in commands:
            done = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"needs iproute2 and the right to make network namespaces: {done.stderr}")
        for number, host in enumerate(hosts):
            shape = ["tbf", "rate", "20mbit", "burst", "32kbit", "latency", "400ms"]
            subprocess.run(
                ["ip", "netns", "exec", host, "tc", "qdisc", "add", "dev", f"v{number}", "root", *shape],
                check=True,
            )
        yield hosts
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host], capture_output=True, check=False)


@pytest.mark.slow
def test_a_slow_link_between_two_hosts_is_red(slow_link, tmp_path):
    """The gradients of a wide backbone over 20 Mbit/s: the doctor measures it, and names hours and remedy."""
    options = ["backbone.embedding_size=4096", "train.steps=1000000"]
    config = saved_config(tmp_path, *options)
    port = free_port()
    processes = [
        start(
            config,
            "--json",
            environment=ENVIRONMENT
            | place(rank, port, address="10.97.0.1")
            | {"GLOO_SOCKET_IFNAME": f"v{rank}"},
            before=("ip", "netns", "exec", host),
        )
        for rank, host in enumerate(slow_link)
    ]
    outputs = [process.communicate() for process in processes]
    assert processes[0].returncode == 1, outputs
    checks = {check["name"]: check for check in json.loads(outputs[0][0])["checks"]}
    check = checks["communication"]
    assert check["level"] == "red", check
    assert " h in place of " in check["says"]
    assert "GLOO_SOCKET_IFNAME" in check["remedy"]
