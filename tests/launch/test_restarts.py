"""Processes that torchrun starts again: after a kill, and because a node has come."""

import signal

import pytest

from tests.glyph_run import steps_done
from tests.processes import ENVIRONMENT, call, free_port, start
from tests.train_cases import saved_config
from tests.waiting import wait_for

KILLS = 20


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills_in_a_row_lose_nothing(tmp_path):
    """Under plain torchrun, which keeps the addresses of the dead in its store."""
    config = saved_config(
        tmp_path,
        "backbone.name=tests.train_cases:Mortal",
        f"backbone.options={{deaths: {KILLS}}}",
        "checkpoint.every_steps=1",
        "train.steps=90",
        "train.timeout_seconds=60",
    )
    ended = call("train", config, ranks=2, torchrun=["--max-restarts", KILLS])
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("resumed at step") == KILLS
    assert "finished 90 steps" in ended.stdout
    assert steps_done(tmp_path / "run") == list(range(1, 91))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_of_one_to_two_nodes_grows_and_shrinks(tmp_path):
    config, endpoint = saved_config(tmp_path, "train.steps=100000"), f"127.0.0.1:{free_port()}"
    log, outputs = tmp_path / "log", []

    def node(*, is_host: str):
        outputs.append(log.open("a"))
        options = (
            "--nnodes 1:2 --nproc-per-node 1 --max-restarts 1 --local-addr 127.0.0.1 --rdzv-backend c10d "
            f"--rdzv-id grows --rdzv-endpoint {endpoint} --rdzv-conf last_call_timeout=4,is_host={is_host}"
        )
        return start(
            "train",
            config,
            torchrun=options.split(),
            stdout=outputs[-1].fileno(),
            stderr=outputs[-1].fileno(),
            environment=ENVIRONMENT | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        )

    def said(*parts: str) -> bool:
        """Whether some line has all parts."""
        return any(all(part in line for part in parts) for line in log.read_text().splitlines())

    first = node(is_host="true")
    wait_for(lambda: said("step 3 "), log=log)
    second = node(is_host="false")
    wait_for(lambda: said("2 ranks on cpu", "resumed at step"), log=log)
    second.send_signal(signal.SIGTERM)
    assert second.wait() == 1
    wait_for(lambda: said("1 rank on cpu", "resumed at step"), log=log)
    first.send_signal(signal.SIGTERM)
    assert first.wait() == 1
    for output in outputs:
        output.close()
