"""Two hosts joined by a slow link, in network namespaces."""

import json
import os
import subprocess
import sys

import pytest

from tests.processes import ENVIRONMENT, free_port, place
from tests.train_cases import saved_config


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
        subprocess.Popen(
            ["ip", "netns", "exec", host, sys.executable, "-m", "partialfc", "doctor", config, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT | place(rank, port, address="10.97.0.1") | {"GLOO_SOCKET_IFNAME": f"v{rank}"},
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
