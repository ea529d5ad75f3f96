"""What every test has: ranks and devices that live as long as the session, and the same start for each."""

import gc
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

from partialfc.data.parallel.processes import STOP_SIGNALS
from tests import devices
from tests.pretend.worker import Worker
from tests.processes import warm_python
from tests.rank_pool import RankPool
from tests.whole_run import import_in_another_order, is_whole_run, with_slow_ones_first

devices.install()  # before other files of tests import the package


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


def pytest_collection_finish() -> None:
    gc.freeze()  # thousands of tests, which each full collection would go through


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if workers := getattr(config, "workerinput", {}).get("workercount", 0):
        items[:] = with_slow_ones_first(items, workers)
    if reason := devices.lacking():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason=reason))
