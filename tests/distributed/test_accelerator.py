"""Copies that are on their way while the host goes on."""

import threading

import torch

from partialfc.distributed.accelerator import OnTheWay, beside
from tests.pretend.machine import machine
from tests.pretend.streams import BUSY


def copied(later_operations: int) -> tuple[list[float], list[str]]:
    """A tensor's values, asked for after so many more operations, of which some write to it; the faults."""
    values = torch.tensor([1.0, 2.0]).pin_memory().to("pretend", non_blocking=True)
    on_the_way = OnTheWay(values)
    for _ in range(later_operations):
        values.add_(1.0)
    return on_the_way.values().tolist(), [fault.kind for fault in machine.log.faults]


def test_a_copy_is_of_the_moment_at_which_it_was_asked_for(on_pretend):
    assert on_pretend(copied, BUSY) == ([1.0, 2.0], [])


def test_to_ask_at_once_is_to_wait(on_pretend):
    assert on_pretend(copied, 0) == ([1.0, 2.0], ["wait"])


def test_on_a_cpu_too_later_writes_do_not_change_it():
    values = torch.tensor([1.0, 2.0])
    on_the_way = OnTheWay(values)
    values.add_(1.0)
    assert on_the_way.values().tolist() == [1.0, 2.0]


def streams_of_two_threads() -> list[tuple[int, int]]:
    """What each thread's stream was before it worked beside it, and afterwards, while the other still did."""
    device, stream = torch.device("pretend:0"), torch.accelerator.current_stream
    there, back = threading.Event(), threading.Event()
    seen = []

    def other() -> None:
        before = stream().stream_id
        with beside(device):
            there.set()
            back.wait()
        seen.append((before, stream().stream_id))

    thread = threading.Thread(target=other)
    with torch.Stream(device):
        before = stream().stream_id
        with beside(device):
            thread.start()
            there.wait()
        seen.append((before, stream().stream_id))
    back.set()
    thread.join()
    return seen


def test_threads_that_work_beside_their_streams_go_back_to_their_own(on_pretend):
    for before, after in on_pretend(streams_of_two_threads):
        assert before == after
