"""One report of several ranks: real processes that meet, miss each other or fall silent."""

import json
import threading

import pytest

from partialfc.doctor import Check, Level, describe
from partialfc.doctor.examine import _together, judge_ranks
from partialfc.doctor.meeting import Meeting
from tests import train_cases
from tests.doctor.rank_cases import examined, start, told
from tests.processes import call, free_port, place
from tests.train_cases import saved_config


def test_missing_and_silent_ranks_are_red_and_named():
    everyone = [told(), None, told(), None]
    missing = judge_ranks(everyone, absent=[1, 3])
    assert missing.level == Level.RED
    assert "ranks 1, 3 did not arrive" in missing.says
    assert "ranks 1, 3 fell silent" in judge_ranks(everyone, absent=[]).says
    mixed = judge_ranks([told(device="cuda"), told()], absent=[])
    assert mixed.level == Level.RED
    assert mixed.says == "their devices differ: cuda on rank 0, cpu on rank 1"
    assert judge_ranks([told(), told(host="b")], absent=[]).says == "2 answered, on 2 hosts"


def test_a_link_that_cannot_be_measured_is_red():
    """A device without torch's support: not the network's failure, and no end of the report."""
    meeting = Meeting(timeout=10, environment={**place(0, free_port()), "WORLD_SIZE": "1"})
    failed = _together(meeting, told(device="xpu"), quick=False)
    assert isinstance(failed, Check)
    assert failed.level == Level.RED
    assert "IFNAME" not in failed.remedy


@pytest.mark.slow
def test_two_ranks_under_torchrun_make_one_report(tmp_path):
    result = call("doctor", saved_config(tmp_path), "--json", ranks=2)
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
    processes = [start(config, "--quick", **place(rank, port), LOCAL_RANK=str(rank)) for rank in range(2)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [1, 1], outputs
    assert "red     num_classes" in outputs[0][0]
    assert outputs[1][0] == ""


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


@pytest.mark.slow
def test_a_rank_that_falls_silent_is_named(alone_as_rank_0):
    """It arrives and then tells nothing: what a rank does that hangs in its own checks."""
    arrivals = []

    def arrive() -> None:
        arrivals.append(Meeting(timeout=60, environment=place(1, alone_as_rank_0)).absent)

    other = threading.Thread(target=arrive)
    other.start()
    report = examined(None, timeout=8)
    other.join()
    assert arrivals == [[]]
    assert "rank 1 fell silent" in describe(report, colour=False)


def test_ranks_that_cannot_connect_are_red_with_the_interface_to_set():
    """A wrong interface: they meet at the rendezvous, but have no way to exchange tensors."""
    port = free_port()
    processes = [start("--quick", **place(rank, port), GLOO_SOCKET_IFNAME="nosuch0") for rank in range(2)]
    outputs = [process.communicate() for process in processes]
    assert processes[0].returncode == 1
    assert "red     link" in outputs[0][0]
    assert "set GLOO_SOCKET_IFNAME" in outputs[0][0]
