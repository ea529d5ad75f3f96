"""The queue before the model: who gets which result, how full calls are, and what there is no room for."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from partialfc.serving.service.batcher import Batcher, FailedCallError
from partialfc.serving.service.problem import Problem

Test = Callable[["Held"], Coroutine[Any, Any, None]]


class Held:
    """A batcher of numbers to their squares, whose calls go on when `go` is set."""

    def __init__(self, **options: Any) -> None:
        self.calls: list[list[int]] = []
        self.entered, self.go = threading.Event(), threading.Event()
        settings = {"largest": 4, "wait_seconds": 0.0, "capacity": 10} | options
        self.batcher: Batcher[int, int] = Batcher("squares", self._call, **settings)

    def _call(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.calls.append(list(numbers))
        self.entered.set()
        assert self.go.wait(60)
        if 13 in numbers:
            raise ZeroDivisionError("thirteen")
        return [number**2 if number >= 0 else ValueError(str(number)) for number in numbers]

    async def ask(self, *numbers: int) -> list[int]:
        with self.batcher.place(len(numbers)) as place:
            return await place.results(numbers)

    async def busy(self, *numbers: int) -> asyncio.Task[list[int]]:
        """A request whose call has begun."""
        self.entered.clear()
        task = asyncio.ensure_future(self.ask(*numbers))
        await asyncio.to_thread(self.entered.wait, 60)
        return task


def run(test: Test, **options: Any) -> Held:
    held = Held(**options)
    try:
        asyncio.run(test(held))
    finally:
        held.go.set()
        held.batcher.close()
    assert held.batcher.waiting == 0
    return held


def test_calls_fill_up_while_the_one_before_runs() -> None:
    async def test(held: Held) -> None:
        first = await held.busy(1)
        rest = [asyncio.ensure_future(held.ask(*numbers)) for numbers in ([2, 3], [4], [5, 6, 7])]
        await asyncio.sleep(0)
        held.go.set()
        assert await asyncio.gather(first, *rest) == [[1], [4, 9], [16], [25, 36, 49]]

    assert run(test).calls == [[1], [2, 3, 4, 5], [6, 7]]


def test_a_call_waits_for_what_is_being_made_ready() -> None:
    async def test(held: Held) -> None:
        held.go.set()
        with held.batcher.place(1) as slow:
            quick = asyncio.ensure_future(held.ask(1))
            await asyncio.sleep(0)
            assert await slow.results([2]) == [4]
        assert await quick == [1]

    assert run(test, wait_seconds=60.0).calls in ([[1, 2]], [[2, 1]])


def test_who_gives_up_is_not_waited_for() -> None:
    async def test(held: Held) -> None:
        held.go.set()
        with pytest.raises(RuntimeError), held.batcher.place(3):
            raise RuntimeError("its images cannot be decoded")
        assert await held.ask(1) == [1]

    assert run(test, wait_seconds=60.0).calls == [[1]]


def test_a_full_queue_has_no_room_until_an_answer_is_given() -> None:
    async def test(held: Held) -> None:
        first = await held.busy(1, 2, 3)
        second = asyncio.ensure_future(held.ask(*range(4, 10)))
        await asyncio.sleep(0)
        with pytest.raises(Problem, match=r"queue is 9 of 10 in use: has no room for 2 more") as refused:
            held.batcher.place(2)
        assert (int(refused.value.status), refused.value.headers) == (503, {"Retry-After": "1"})
        held.go.set()
        await asyncio.gather(first, second)
        assert await held.ask(*range(10)) == [number**2 for number in range(10)]

    run(test)


def test_what_nobody_waits_for_any_longer_is_not_computed() -> None:
    async def test(held: Held) -> None:
        first = await held.busy(1)
        given_up = asyncio.ensure_future(held.ask(2, 3))
        await asyncio.sleep(0)
        given_up.cancel()
        last = asyncio.ensure_future(held.ask(4))
        await asyncio.sleep(0)
        held.go.set()
        assert await asyncio.gather(first, last) == [[1], [16]]

    assert run(test).calls == [[1], [4]]


def test_a_call_that_fails_is_told_to_its_own_requests(caplog: pytest.LogCaptureFixture) -> None:
    async def test(held: Held) -> None:
        held.go.set()
        with pytest.raises(FailedCallError, match="ZeroDivisionError: thirteen"):
            await held.ask(13)
        assert await held.ask(2) == [4]
        assert held.batcher.alive

    run(test)
    assert "squares failed on 1 items" in caplog.text


def test_an_error_of_one_item_is_its_own_requests() -> None:
    async def test(held: Held) -> None:
        first = await held.busy(1)
        bad, good = (asyncio.ensure_future(held.ask(*numbers)) for numbers in ([2, -3, 4, 5, 6, 7], [3]))
        await asyncio.sleep(0)
        held.go.set()
        with pytest.raises(ValueError, match="-3"):
            await bad
        assert await asyncio.gather(first, good) == [[1], [9]]

    run(test)


def test_the_watch_is_told_of_each_call() -> None:
    told: list[int] = []

    async def test(held: Held) -> None:
        held.go.set()
        await held.ask(*range(6))

    run(test, watch=lambda items, seconds: told.append(items))
    assert told == [4, 2]
