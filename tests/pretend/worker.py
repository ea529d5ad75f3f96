"""A process that has the pretend accelerator, and runs functions of tests there."""

import contextlib
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

TIMEOUT_SECONDS = 120


def _serve(connection: Connection) -> None:
    """For each request: call the function with an empty log, answer."""
    import torch

    from tests.pretend.device import install

    torch.set_num_threads(1)
    install()  # before the package is imported, so that it finds what `install` puts in place of torch's
    connection.send(None)
    while True:
        try:
            request = connection.recv()
        except EOFError:
            request = None
        if request is None:
            sys.stdout.flush()
            os._exit(0)  # autograd's thread for the device does not end by itself
        done, result = _answer(*request)
        try:
            connection.send((done, result))
        except Exception as error:  # pickle's, for a result that is no plain value
            connection.send((False, RuntimeError(f"{error}: {result!r}")))


def _answer(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[bool, Any]:
    import torch

    from tests.pretend.machine import machine

    machine.log.clear()
    torch.default_generator.manual_seed(0)
    try:
        return True, function(*args)
    except BaseException as error:
        with contextlib.suppress(Exception):
            error.add_note(f"on the pretend accelerator:\n{traceback.format_exc()}")
        return False, error


class Worker:
    """The process, started by the first call."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._process: Any = None

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """What a module-level function returns or raises there."""
        if self._connection is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,))
            self._process.start()
            theirs.close()
            self._receive()
        self._connection.send((function, args))
        done, result = self._receive()
        if not done:
            raise result
        return result

    def _receive(self) -> Any:
        assert self._connection is not None
        if not self._connection.poll(TIMEOUT_SECONDS):
            self.close()
            raise TimeoutError("the pretend accelerator's process gave no answer")
        return self._connection.recv()

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.send(None)
            self._process.join(timeout=5)
            if self._process.is_alive():
                self._process.kill()
            self._connection = None
