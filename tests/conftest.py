"""`run_ranks(fn, world_size, *args)`: run a module-level function on real gloo processes."""

import contextlib
import gc
import importlib
import itertools
import multiprocessing
import os
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import HealthCheck, settings

from partialfc.data.parallel.processes import STOP_SIGNALS
from tests import devices
from tests.pretend.device import install
from tests.pretend.machine import machine
from tests.pretend.worker import Worker
from tests.processes import warm_python

devices.install()  # before other files of tests import the package

MAX_WORLD = 4
GROUP_SECONDS = 100  # that a rank waits for the others, of which each may compile first on a busy machine
TIMEOUT_SECONDS = 120
# What most functions on ranks import, or have torch import with the first step of a head.
PRELOADED = ["tests.train_cases", "partialfc.training.run", "torch._dynamo", "tests.frozen"]


def _serve(connection: Connection, pretend: bool) -> None:
    """A worker: for each request join a fresh group, call the function, answer, leave the group."""
    torch.set_num_threads(1)
    # A fork server that the package started for its own workers blocks them.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    # Together: the first one to fail would close connections that others are still making.
    os.environ["TORCH_DIST_INIT_BARRIER"] = "1"
    if pretend:
        install()
    while True:
        request = connection.recv()
        if request is None and pretend:
            os._exit(0)  # autograd's thread for the device does not end by itself
        if request is None:
            return
        function, rank, world_size, store, backend, args = request
        machine.log.clear()
        try:
            dist.init_process_group(
                backend,
                init_method=f"file://{store}",
                rank=rank,
                world_size=world_size,
                timeout=timedelta(seconds=GROUP_SECONDS),
            )
            try:
                torch.default_generator.manual_seed(rank)
                connection.send((True, function(*args)))
            finally:
                dist.destroy_process_group()
        except BaseException as error:
            with contextlib.suppress(Exception):
                error.add_note(f"on rank {rank} of {world_size}:\n{traceback.format_exc()}")
            try:
                connection.send((False, error))
            except Exception:  # an error that does not pickle still has to reach the test
                connection.send((False, RuntimeError(traceback.format_exc())))


class RankPool:
    """Worker processes that live as long as the test session, so that a test pays no start-up.

    Those whose function failed are replaced: it may have left torch's count of groups uneven between them.
    pretend: whether each has the pretend accelerator.
    """

    def __init__(self, *, pretend: bool = False) -> None:
        self._pretend = pretend
        self._context = multiprocessing.get_context("forkserver")  # which imports once, not once a worker
        self._context.set_forkserver_preload(PRELOADED)
        self._workers: list[tuple[Any, Connection]] = []
        self._calls = itertools.count()
        self._stores = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # until the session ends

    def _start(self, count: int) -> None:
        while len(self._workers) < count:
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=_serve, args=(theirs, self._pretend), daemon=False)
            process.start()
            theirs.close()
            self._workers.append((process, ours))

    def run(
        self, function: Callable[..., Any], world_size: int, *args: Any, backend: str = "gloo"
    ) -> list[Any]:
        """The results by rank; re-raises the first rank's error; every rank's own with `outcomes`."""
        results = self.outcomes(function, world_size, *args, backend=backend)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    def outcomes(
        self, function: Callable[..., Any], world_size: int, *args: Any, backend: str = "gloo"
    ) -> list[Any]:
        """What each rank returned or raised, by rank; a hang is an error that names the silent ranks."""
        assert 1 <= world_size <= MAX_WORLD
        self._start(world_size)
        # A group writes to its store once more when the last object that knows it goes, which may be long
        # after the answer. Where the store is gone then, that ends the process.
        store = f"{self._stores.name}/{next(self._calls)}"
        for rank in range(world_size):
            self._workers[rank][1].send((function, rank, world_size, store, backend, args))
        pending = {self._workers[rank][1]: rank for rank in range(world_size)}
        results: list[Any] = [None] * world_size
        while pending:
            ready = wait(list(pending), timeout=TIMEOUT_SECONDS)
            if not ready:
                silent = sorted(pending.values())
                self.close()
                raise TimeoutError(f"ranks {silent} of {world_size} gave no answer")
            for connection in ready:
                rank = pending.pop(connection)  # type: ignore[arg-type]
                results[rank] = connection.recv()[1]  # type: ignore[union-attr]
        if any(isinstance(result, BaseException) for result in results):
            self._kill()
        return results

    def close(self) -> None:
        for _, connection in self._workers:
            with contextlib.suppress(OSError):
                connection.send(None)
        for process, _ in self._workers:
            process.join(timeout=5)
        self._kill()

    def _kill(self) -> None:
        for process, connection in self._workers:
            process.kill()
            process.join()
            connection.close()
        self._workers.clear()


@pytest.fixture(scope="session")
def rank_pool() -> Iterator[RankPool]:
    pool = RankPool()
    yield pool
    pool.close()


@pytest.fixture
def run_ranks(rank_pool: RankPool) -> Callable[..., list[Any]]:
    """`run_ranks(function, world_size, *args) -> [result of rank 0, ...]`."""
    return rank_pool.run


@pytest.fixture
def rank_outcomes(rank_pool: RankPool) -> Callable[..., list[Any]]:
    """Like run_ranks, but hands back each rank's exception instead of raising it."""
    return rank_pool.outcomes


@pytest.fixture(scope="session")
def pretend_pool() -> Iterator[RankPool]:
    pool = RankPool(pretend=True)
    yield pool
    pool.close()


@pytest.fixture
def ranks_on_pretend(pretend_pool: RankPool) -> Callable[..., list[Any]]:
    """As `run_ranks`, on ranks that each have the pretend accelerator; backend: of pretend/collectives.py."""
    return pretend_pool.run


@pytest.fixture(scope="session")
def pretend_worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture
def on_pretend(pretend_worker: Worker) -> Callable[..., Any]:
    """`on_pretend(function, *args) -> result`: in a process that has the pretend accelerator, `pretend:0`."""
    return pretend_worker.run


# Properties are tried on the same examples in each run; with --hypothesis-profile=others on new ones.
SLOW_MACHINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("others", **SLOW_MACHINE)
settings.register_profile("the same", derandomize=True, **SLOW_MACHINE)
settings.load_profile("the same")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    gc.freeze()
    _leave_signals_to_children()
    if is_whole_run(config) and not config.option.collectonly:
        warm_python()  # before xdist starts its workers, which all use it


def is_whole_run(config: pytest.Config) -> bool:
    return [Path(each).absolute() for each in config.args] == [config.rootpath / "tests"]


def _leave_signals_to_children() -> None:
    """What tests start gets the signals that they send it, however the tests were started.

    A shell that runs them behind it, nohup or a runner may have them ignored or blocked, which every program
    inherits. A handler that does nothing keeps the tests from them too, but no program inherits that.
    """
    for number in STOP_SIGNALS:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What a test draws without a seed of its own does not depend on which tests this process ran before."""
    torch.default_generator.manual_seed(0)


@pytest.hookimpl(wrapper=True, trylast=True)  # inside pytest's own, which notes the warnings of imports
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Without garbage collections, which find nothing among thousands of tests that stay."""
    gc.disable()
    import_in_another_order(session.config)
    try:
        return (yield)
    finally:
        gc.enable()


def import_in_another_order(config: pytest.Config) -> None:
    """In a worker of a whole run: the files of tests, beginning at another one than the other workers do.

    pytest keeps what it compiles of a file for later. Workers that all began with the first file would each
    compile every file; so each compiles its share, and finds the others'.
    """
    given: dict[str, Any] = getattr(config, "workerinput", {})
    if not given or not is_whole_run(config):
        return
    files = sorted((config.rootpath / "tests").rglob("test_*.py"))
    first = len(files) * int(given["workerid"].removeprefix("gw")) // given["workercount"]
    for file in files[first:] + files[:first]:
        # What cannot be imported is told when pytest collects it.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(file.relative_to(config.rootpath).with_suffix("").parts))


def pytest_collection_finish() -> None:
    gc.freeze()  # thousands of tests, which each full collection would go through


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if workers := getattr(config, "workerinput", {}).get("workercount", 0):
        items[:] = with_slow_ones_first(items, workers)
    if reason := devices.lacking():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason=reason))


def with_slow_ones_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """For pytest-xdist, which gives each worker an equal run of the items: a share of the slow ones first.

    A slow test that began last would leave the other workers idle. Those of one file that share what a
    fixture makes for the file go to one worker, so that it is made once.
    """
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = [item for item in items if not item.get_closest_marker("slow")]
    together: dict[str, list[pytest.Item]] = {}
    for item in slow:
        together.setdefault(item.nodeid.split("::")[0] if shares(item) else item.nodeid, []).append(item)
    groups = list(together.values())
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        ordered += [item for group in groups[worker::workers] for item in group]
        missing = max(0, len(items) * (worker + 1) // workers - len(ordered))
        ordered += others[:missing]
        del others[:missing]
    return ordered + others


def shares(item: pytest.Item) -> bool:
    """Whether a fixture of the test is made once for its file."""
    assert isinstance(item, pytest.Function)
    found = item._fixtureinfo.name2fixturedefs.values()
    return any(definition.scope == "module" for definitions in found for definition in definitions)
