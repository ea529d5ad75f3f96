"""A rank whose device waits in vain: it ends in time, and its last line names the rank that it waited for."""

import signal
import subprocess

import pytest

from tests.distributed.rank_of_a_device import LONG
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, free_port, place, warm_python
from tests.train_cases import saved_config
from tests.warm import WarmProcess


def start(*tasks: str, timeout: float = 3.0, **environment: str) -> list[WarmProcess]:
    """A rank for each task."""
    words = ("tests.distributed.rank_of_a_device", timeout, *tasks)
    return start_ranks(len(tasks), *words, **environment)


def start_ranks(count: int, *words: object, **environment: str) -> list[WarmProcess]:
    """`python -m WORDS` on each of so many ranks."""
    port = free_port()
    return [
        warm_python().start(
            "-m",
            *words,
            env=ENVIRONMENT | place(rank, port) | {"WORLD_SIZE": str(count)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        for rank in range(count)
    ]


def last_line(process: WarmProcess, *, status: int = 1) -> str:
    """Of a rank that ends with an error."""
    said = process.communicate()[1]
    assert process.returncode == status, said
    return said.splitlines()[-1]


def test_ranks_that_all_come_end_well():
    for process in start("reduce", "reduce", timeout=LONG):
        out, err = process.communicate()
        assert (process.returncode, out) == (0, "done\n"), err


@pytest.mark.slow
def test_ranks_that_do_not_answer():
    """One is stopped, as where its machine hangs, and one was killed."""
    *waiting, stopped, killed = start("reduce", "reduce", "stop", "die")
    for rank, process in enumerate(waiting):
        assert last_line(process).startswith(
            f"[rank {rank}] partialfc: DistributedError: a collective of pretend:0 failed on rank {rank} "
            "of 4: no answer from ranks 2-3; look for the first error in the silent rank's log"
        )
    assert killed.wait() == -signal.SIGKILL
    stopped.kill()


def test_a_rank_that_does_something_else():
    """It lives, so it is not ended: only the others, which wait for it, are."""
    waiting, busy = start("reduce", "be_busy")
    line = last_line(waiting)
    assert "failed on rank 0 of 2: rank 1 did not come to it, but was at " in line
    assert "partialfc/distributed/rendezvous.py:" in line
    assert "(looks) (it had waited 3 s)" in line
    busy.kill()
    assert busy.wait() == -signal.SIGKILL


def test_a_device_that_takes_no_more_while_it_waits():
    """Whoever tells it more waits too, be it the watch."""
    waiting, busy = start("reduce_and_fill", "be_busy")
    assert "failed on rank 0 of 2: rank 1 did not come to it, but was at " in last_line(waiting)
    busy.kill()
    assert busy.wait() == -signal.SIGKILL


def test_a_rank_that_ends_with_an_error_is_not_waited_for():
    waiting, failing = start("reduce", "fail", timeout=LONG)
    assert "failed on rank 0 of 2: rank 1 ended with MemoryError: CUDA out of memory" in last_line(waiting)
    assert last_line(failing) == "MemoryError: CUDA out of memory"


def test_a_rank_that_cannot_leave_after_an_error_ends_all_the_same():
    _, failing = start("reduce", "fail_and_hang")
    assert last_line(failing) == "[rank 1] partialfc: MemoryError: CUDA out of memory"


def test_ranks_that_all_wait():
    """Each has come to a collective, but not to the same one."""
    for process in start("reduce", "gather"):
        line = last_line(process)
        assert "every rank waits for the others: they called different collectives" in line
        assert "(ranks 0-1 at " in line


def test_ranks_that_cannot_connect():
    for rank, process in enumerate(start("connect_in_vain", "connect_in_vain")):
        line = last_line(process)
        assert f"joining the process group failed on rank {rank} of 2: every rank waits" in line


def test_a_store_that_has_ended_with_rank_0():
    dying, waiting = start("die", "reduce")
    assert "rank 0 or torchrun has ended, and with it the store" in last_line(waiting)
    assert dying.wait() == -signal.SIGKILL


def test_torchs_flight_recorder_is_left_time_where_it_was_asked_for(tmp_path):
    """The rank says who is silent, and goes on until torch's watchdog ends it."""
    waiting, busy = start("reduce", "be_busy", TORCH_FR_DUMP_TEMP_FILE=str(tmp_path / "trace"))
    while "rank 1 did not come to it" not in waiting.stderr.readline():
        pass
    for process in (waiting, busy):
        process.kill()
        assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_run_whose_rank_hangs_in_its_backward_pass(tmp_path):
    """The other rank's device waits in DistributedDataParallel's collective, which raises nothing in time."""
    saved_config(tmp_path)
    waiting, hanging = start_ranks(
        *(2, "tests.pretend.command", "train", tmp_path / "config.yaml", "train.device=auto"),
        *("train.timeout_seconds=8", "backbone.name=tests.train_cases:Hanging"),
        "backbone.options.backward=true",
    )
    line = last_line(waiting)
    assert "a collective of pretend:0 failed on rank 0 of 2: rank 1 did not come to it, but was at " in line
    assert "at partialfc/training/" in line
    hanging.kill()
    assert hanging.wait() == -signal.SIGKILL
