"""launch/torchrun.sh: what it tells torchrun, what it refuses, and one run on two hosts that ends on one."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from tests.glyph_run import steps_done, write_config, write_glyphs
from tests.launch.two_hosts import Host, two_hosts, why_not
from tests.paths import ROOT
from tests.processes import warm_python
from tests.waiting import wait_for

LAUNCHER = str(ROOT / "launch" / "torchrun.sh")
VARIABLES = re.findall(r"^#   ([A-Z_]+)  ", (ROOT / "launch" / "torchrun.sh").read_text(), re.MULTILINE)


def environment(**variables: str) -> dict[str, str]:
    """This process's, but of the launcher's variables only these."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in VARIABLES and not name.startswith("PET_") and name != "CUDA_VISIBLE_DEVICES"
    }
    return kept | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)} | variables


def launch(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LAUNCHER, *arguments], env=environment(**variables), capture_output=True, text=True, check=False
    )


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    """A stand-in for Python that writes its arguments and environment down instead of training."""
    path = tmp_path / "recorder"
    path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/arguments\nenv >{tmp_path}/environment\n')
    path.chmod(0o755)
    return path


def asked(recorder: Path, **variables: str) -> tuple[str, dict[str, str]]:
    """What the launcher runs for `CONFIG train.steps=9` under these variables, and in what environment."""
    result = launch("my config.yaml", "train.steps=9", **{"PYTHON": str(recorder)} | variables)
    assert result.returncode == 0, result.stderr
    lines = (recorder.parent / "environment").read_text().splitlines()
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    arguments = (recorder.parent / "arguments").read_text().splitlines()
    assert arguments[:2] == ["-m", "torch.distributed.run"]
    return " ".join(arguments[2:]), seen


def test_shell_scripts_are_clean():
    scripts = sorted([*(ROOT / "launch").glob("*.s*"), *(ROOT / "tests" / "integration").glob("*.sh")])
    assert scripts
    checker = Path(sys.executable).parent / "shellcheck"
    result = subprocess.run([checker, "-S", "style", *scripts], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_one_node_needs_no_variable(recorder):
    arguments, seen = asked(recorder)
    assert "--standalone" in arguments
    assert "--nproc-per-node 1 " in arguments
    assert "rdzv" not in arguments
    assert arguments.endswith("-m partialfc train my config.yaml train.steps=9")
    assert int(seen["OMP_NUM_THREADS"]) == len(os.sched_getaffinity(0))
    assert seen["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == "110"


def test_this_torchs_torchrun_has_every_option(recorder):
    arguments, _ = asked(
        recorder, NNODES="2", RDZV_ENDPOINT="node0:1", LOCAL_ADDR="10.0.0.3", MAX_RESTARTS="2"
    )
    parsed = get_args_parser().parse_args(arguments.split(" "))
    assert (parsed.nnodes, parsed.local_addr, parsed.max_restarts) == ("2", "10.0.0.3", 2)


def test_several_nodes_meet_at_the_endpoint(recorder):
    many = {"NNODES": "4", "NPROC_PER_NODE": "8", "RDZV_ENDPOINT": "node0:1", "RDZV_ID": "job7"}
    arguments, seen = asked(recorder, **many, NODE_RANK="3", LOCAL_ADDR="10.0.0.3", MAX_RESTARTS="2")
    assert "--nproc-per-node 8 --max-restarts 2 " in arguments
    assert "--nnodes 4 --rdzv-backend c10d --rdzv-endpoint node0:1 --rdzv-id job7 " in arguments
    assert "--rdzv-conf join_timeout=600,read_timeout=600,is_host=false --local-addr 10.0.0.3 " in arguments
    assert seen["OMP_NUM_THREADS"] == "1"
    assert "is_host=true" in asked(recorder, **many, NODE_RANK="0")[0]
    assert "is_host=true" in asked(recorder, **many, NODE_RANK="1", IS_HOST="true")[0]
    assert "is_host" not in asked(recorder, **many)[0]  # torchrun finds out by the host's name
    assert "TORCH_DISABLE_SHARE_RDZV_TCP_STORE" not in seen


def test_a_number_of_nodes_that_may_change_can_grow_again(recorder):
    """test_restarts.py runs such a job."""
    arguments, seen = asked(recorder, NNODES="2:4", RDZV_ENDPOINT="node0:1")
    assert "--nnodes 2:4 " in arguments
    assert seen["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1"


def test_the_interface_and_the_targets_file_are_passed_on(recorder):
    arguments, seen = asked(recorder, IFNAME="lo", TARGETS="/shared/targets.json", OMP_NUM_THREADS="3")
    assert arguments.endswith("train.steps=9 metrics.targets=/shared/targets.json")
    assert (seen["GLOO_SOCKET_IFNAME"], seen["NCCL_SOCKET_IFNAME"]) == ("lo", "=lo")
    assert seen["OMP_NUM_THREADS"] == "3"


def test_processes_are_as_many_as_the_visible_gpus(recorder, tmp_path):
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "GPU 0: NVIDIA X (UUID: GPU-a)"\necho "GPU 1: NVIDIA X (UUID: GPU-b)"\n')
    tool.chmod(0o755)
    path = f"{tool.parent}:{os.environ['PATH']}"
    assert "--nproc-per-node 2 " in asked(recorder, PATH=path)[0]
    assert "--nproc-per-node 3 " in asked(recorder, PATH=path, CUDA_VISIBLE_DEVICES="0,1,5")[0]
    assert "--nproc-per-node 1 " in asked(recorder, PATH=path, CUDA_VISIBLE_DEVICES="")[0]


def test_what_kubeflow_sets_is_taken(recorder):
    pod = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "auto", "PET_NODE_RANK": "1"}
    arguments, seen = asked(recorder, **pod, PET_MASTER_ADDR="job-node-0-0.job", PET_MASTER_PORT="29400")
    assert "--nnodes 2 --rdzv-backend c10d --rdzv-endpoint job-node-0-0.job:29400 " in arguments
    assert "is_host=false " in arguments
    assert not [name for name in seen if name.startswith("PET_")]


def test_the_doctor_takes_the_same_way(recorder):
    many = {"NNODES": "2", "NODE_RANK": "1", "RDZV_ENDPOINT": "node0:1", "IFNAME": "lo"}
    trains, seen = asked(recorder, **many)
    examines, seen_by_the_doctor = asked(recorder, **many, COMMAND="doctor", TARGETS="/shared/targets.json")
    assert examines == trains.replace("-m partialfc train ", "-m partialfc doctor ")
    assert seen_by_the_doctor["NCCL_SOCKET_IFNAME"] == seen["NCCL_SOCKET_IFNAME"] == "=lo"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"COMMAND": "plan"}, "COMMAND is 'plan'; it must be train or doctor"),
        ({"NNODES": "0"}, "NNODES is '0'; it must be a number of nodes, 1 or more, or MIN:MAX"),
        ({"NNODES": "2"}, "NNODES is 2, but RDZV_ENDPOINT is missing: give HOST:PORT of one of the nodes"),
        ({"NPROC_PER_NODE": "all"}, "NPROC_PER_NODE is 'all'; it must be a number of processes"),
        ({"NODE_RANK": "-1"}, "NODE_RANK is '-1'; it must be the number of this node, 0 to NNODES - 1"),
        ({"NNODES": "2", "NODE_RANK": "2", "RDZV_ENDPOINT": "a:1"}, "NODE_RANK is 2, but NNODES is 2: nodes"),
        ({"RDZV_ENDPOINT": "node0"}, "RDZV_ENDPOINT is 'node0'; it must be HOST:PORT, such as node0:29400"),
        ({"RDZV_ENDPOINT": "a:70000"}, "RDZV_ENDPOINT is 'a:70000', but ports end at 65535"),
        ({"IS_HOST": "yes"}, "IS_HOST is 'yes'; it must be true on the node at RDZV_ENDPOINT, false"),
        ({"IFNAME": "eth77"}, "IFNAME is 'eth77', but this node's interfaces are: "),
        ({"MAX_RESTARTS": "x"}, "MAX_RESTARTS is 'x'; it must be a number of restarts, 0 or more"),
        ({"RDZV_TIMEOUT": "soon"}, "RDZV_TIMEOUT is 'soon'; it must be a number of seconds, 1 or more"),
        ({"SHUTDOWN_TIMEOUT": "0"}, "SHUTDOWN_TIMEOUT is '0'; it must be a number of seconds, 1 or more"),
        ({"OMP_NUM_THREADS": "two"}, "OMP_NUM_THREADS is 'two'; it must be a number of threads, 1 or more"),
        ({"TARGETS": "targets.yaml"}, "TARGETS is 'targets.yaml'; it must be a .json file"),
        ({"PYTHON": "/no/python"}, "PYTHON is '/no/python', which is not a command"),
        ({"PYTHON": "/bin/false"}, "PYTHON is '/bin/false', which has no partialfc"),
        ({"NNODES": "4:2", "RDZV_ENDPOINT": "a:1"}, "NNODES is '4:2'; MIN:MAX must not be MAX:MIN"),
    ],
)
def test_a_bad_variable_is_named(variables, message):
    result = launch("config.yaml", **variables)
    assert result.returncode == 2
    assert result.stderr.startswith(f"launch/torchrun.sh: {message}")
    assert result.stderr.count("\n") == 1


def test_a_missing_config_is_named():
    result = launch()
    assert result.returncode == 2
    assert "no config: launch/torchrun.sh CONFIG" in result.stderr


def warm() -> dict[str, str]:
    """Variables with which torchrun and its ranks start at once."""
    return dict.fromkeys(("PYTHON", "PYTHON_EXEC"), str(warm_python().executable))


@pytest.mark.slow
def test_the_doctor_really_runs(tmp_path):
    config = write_config(tmp_path / "config.yaml", write_glyphs(tmp_path), tmp_path / "run")
    variables = {"COMMAND": "doctor", "NPROC_PER_NODE": "2"}
    result = launch(str(config), "--quick", "train.batch_size=1", **variables, **warm())
    assert "2 answered" in result.stdout
    assert "train.batch_size is 1" in result.stdout
    assert result.returncode == 1


def test_a_step_that_ends_while_slurm_stops_the_job_is_not_queued_again(tmp_path):
    """Stand-ins for Slurm's commands; the step of the job ends well while the script handles SIGTERM."""
    tools = {
        "scontrol": f'echo "$*" >>{tmp_path}/scontrol; echo node0',
        "srun": f"echo $$ >{tmp_path}/step; until [ -e {tmp_path}/end ]; do sleep 0.05; done",
        "squeue": f"touch {tmp_path}/end; until ! kill -0 $(cat {tmp_path}/step) "
        f"|| grep -q 'State:.Z' /proc/$(cat {tmp_path}/step)/status; do sleep 0.05; done; echo RUNNING",
        "scancel": f"touch {tmp_path}/cancelled",
    }
    (tmp_path / "bin").mkdir()
    for name, script in tools.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node0", "SLURM_JOB_NUM_NODES": "1"}
    script = subprocess.Popen(
        ["bash", "launch/slurm.sbatch", "config.yaml"],
        cwd=ROOT,
        env=environment(**job, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"),
        text=True,
        stdout=subprocess.PIPE,
    )
    wait_for((tmp_path / "step").exists, log=tmp_path / "scontrol")
    script.send_signal(signal.SIGTERM)
    output, _ = script.communicate(timeout=60)
    assert (tmp_path / "cancelled").exists()
    assert (script.returncode, output) == (0, "")
    assert "requeue" not in (tmp_path / "scontrol").read_text()


def test_a_second_job_at_the_same_endpoint_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        result = launch("config.yaml", NNODES="2", NODE_RANK="0", RDZV_ENDPOINT=endpoint)
    assert result.returncode == 2
    assert f"RDZV_ENDPOINT is {endpoint}, but something listens there already" in result.stderr


@pytest.mark.slow
def test_a_bad_config_is_the_trainers_message(tmp_path):
    """The trainer's own error comes through torchrun, which adds which rank failed."""
    result = launch(str(tmp_path / "missing.yaml"), **warm())
    assert result.returncode == 1
    assert "[rank 0] partialfc: ConfigError" in result.stderr
    assert "missing.yaml" in result.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_on_two_hosts_is_stopped_and_ends_on_one(tmp_path):
    """SIGTERM to one host's torchrun only: both ranks save the same step; one rank on one host goes on."""
    if lacking := why_not():
        pytest.skip(lacking)
    run, log = tmp_path / "run", tmp_path / "host1.log"
    config = write_config(tmp_path / "config.yaml", write_glyphs(tmp_path), run)
    with two_hosts() as (first, second):
        served = ["metrics.bind=0.0.0.0", f"metrics.targets={tmp_path / 'targets.json'}"]
        agents = [
            host.start(
                [LAUNCHER, str(config), *served],
                tmp_path / f"host{rank + 1}.log",
                environment(
                    NNODES="2",
                    NODE_RANK=str(rank),
                    NPROC_PER_NODE="1",
                    RDZV_ENDPOINT=f"{first.address}:29400",
                    RDZV_ID="two-hosts",
                    LOCAL_ADDR=host.address,
                    IFNAME=host.interface,
                    OMP_NUM_THREADS="1",
                ),
            )
            for rank, host in enumerate((first, second))
        ]
        wait_for(lambda: len(steps_done(run)) >= 5, log=log, alive=lambda: agents[0].poll() is None)

        [group] = json.loads((tmp_path / "targets.json").read_text())
        assert sorted(group["targets"]) == [f"{first.address}:9850", f"{second.address}:9850"]
        assert 'rank="0"' in scraped(second, f"{first.address}:9850")
        assert 'rank="1"' in scraped(first, f"{second.address}:9850")

        agents[1].send_signal(signal.SIGTERM)
        assert [agent.wait(timeout=120) for agent in agents] == [1, 1]  # torchrun's code for "stopped"
        stopped = steps_done(run)
        assert f"stopped by SIGTERM at step {stopped[-1]}" in log.read_text()
        assert (run / "checkpoints" / "latest").read_text() == f"step-{stopped[-1]:08d}"

        end = stopped[-1] + 10
        again = first.start([LAUNCHER, str(config), f"train.steps={end}"], log, environment())
        assert again.wait(timeout=240) == 0, log.read_text()
    assert f"step-{stopped[-1]:08d}, written with a world size of 2" in log.read_text()
    assert steps_done(run) == [*stopped, *range(stopped[-1] + 1, end + 1)]


def scraped(host: Host, address: str) -> str:
    """What http://address/metrics answers to a request from the host."""
    url = f"http://{address}/metrics"
    fetch = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=20).read().decode())"
    return host.output([sys.executable, "-c", fetch])
