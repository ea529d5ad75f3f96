"""How worker processes start, and which signals they leave to the main process."""

import signal
from collections.abc import Sequence
from multiprocessing import context, forkserver, popen_forkserver, resource_tracker
from multiprocessing.process import BaseProcess

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Popen(popen_forkserver.Popen):
    def terminate(self) -> None:
        self.kill()  # the SIGTERM that it stands for is ignored


class _Process(context.ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> popen_forkserver.Popen:
        return _Popen(process_obj)


class _Context(context.ForkServerContext):
    Process = _Process


def worker_context(preload: Sequence[str]) -> context.BaseContext:
    """How worker processes start; `preload`: modules that are imported once for all of them.

    Not by fork: the parent runs threads (BLAS, gloo or NCCL, a metrics server) whose locks a forked child
    would inherit locked, and a CUDA context that it must not touch. A fork server is a clean process that
    imports torch once and forks workers from there, so that each starts in milliseconds and shares memory.

    torchrun, Slurm and Ctrl-C send the signals that stop a run to all its processes. The main process alone
    handles them: in the fork server, and so in its workers, they are blocked from the first instruction.
    `terminate` of a worker kills it.
    """
    workers = _Context()
    workers.set_forkserver_preload(list(preload))  # no effect on a server that already runs
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        resource_tracker.ensure_running()  # ignores all but SIGHUP by itself; it unblocks the others here
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return workers


def leave_stop_signals_to_parent() -> None:
    """In a worker, whose fork server may be one that was not started here."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def end_of(process: BaseProcess) -> str:
    """How a process ended, for people."""
    code = process.exitcode or 0
    if code >= 0:
        return f"pid {process.pid} exited with code {code}"
    return f"pid {process.pid} was killed by {signal.Signals(-code).name}"
