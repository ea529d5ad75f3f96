"""Real gloo processes on which module-level functions run."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
import torch.distributed as dist

from partialfc.data.parallel.processes import STOP_SIGNALS
from tests.pretend.device import install
from tests.pretend.machine import machine

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
