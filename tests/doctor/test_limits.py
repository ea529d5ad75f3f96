"""What the system lets a process have."""

import resource
import socket
from pathlib import Path

import pytest

from partialfc.doctor import Level
from partialfc.doctor.limits import check_shared_memory, judge_files, judge_shared_memory
from tests.doctor.cases import found, quick, soft_limit


def test_few_open_files_are_red(folder):
    with soft_limit(resource.RLIMIT_NOFILE, 250):
        check = found(quick(folder), "open files")
    assert check.level == Level.RED
    assert check.says.startswith("at most 250")
    assert check.remedy.startswith("ulimit -n")


def test_open_files_say_what_to_raise():
    assert judge_files(1024, 4096, 500).level == Level.GREEN
    assert judge_files(-1, -1, 500).level == Level.GREEN
    assert judge_files(256, 4096, 500).remedy == "ulimit -n 500"
    assert "hard limit, 256" in judge_files(256, 256, 500).remedy


def test_little_shared_memory_is_red():
    check = check_shared_memory(batch_bytes=1 << 50, workers=1, ranks=1)
    assert check.level == Level.RED
    assert "--shm-size" in check.remedy
    check = check_shared_memory(batch_bytes=1, workers=1, ranks=1, shm=Path("/no/such/mount"))
    assert check.level == Level.RED
    assert "data.workers=0" in check.remedy
    assert judge_shared_memory(64 << 20, 40 << 20).level == Level.YELLOW
    assert judge_shared_memory(64 << 20, 0).level == Level.GREEN


def test_a_metrics_port_that_is_taken_is_yellow_for_training_goes_on(folder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        if port > 65535 - 64:
            pytest.skip("the system gave a port that metrics.port cannot be")
        check = found(quick(folder, f"metrics.port={port}"), "metrics port")
    assert check.level == Level.YELLOW
    assert f"127.0.0.1:{port}" in check.says
    assert "metrics.port" in check.remedy


def test_an_address_of_another_machine_is_yellow(folder):
    check = found(quick(folder, "metrics.bind=203.0.113.1", "metrics.port=9850"), "metrics port")
    assert check.level == Level.YELLOW
    assert "metrics.bind" in check.remedy
