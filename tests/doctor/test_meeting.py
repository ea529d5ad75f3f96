"""Ranks that find each other, wait for each other, or do not."""

import socket
import threading

import pytest

from partialfc.doctor.meeting import Meeting
from partialfc.errors import DistributedError
from tests.processes import free_port, place


def test_ranks_wait_for_each_other_before_they_measure(alone_as_rank_0):
    reached = []

    def other() -> None:
        meeting = Meeting(timeout=60, environment=place(1, alone_as_rank_0))
        meeting.hear_first("ready", seconds=60)
        reached.append("step")
        meeting.wait_for_all("step")
        meeting.pass_by("step", "loading")

    thread = threading.Thread(target=other)
    thread.start()
    meeting = Meeting(timeout=60)
    assert meeting.absent == []
    meeting.tell("ready", "yes")
    meeting.wait_for_all("step")
    assert reached == ["step"]
    meeting.timeout = 10_000  # a test that hangs here waits for a rank that is past it
    meeting.wait_for_all("loading")
    thread.join()


@pytest.mark.usefixtures("alone_as_rank_0")
def test_a_missing_rank_is_waited_for_once():
    meeting = Meeting(timeout=1)
    assert meeting.absent == [1]
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
