"""What torchrun tells its processes, and how they notice that it has ended."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
LOOK_SECONDS = 1.0


def launched_by_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment has what torchrun, or a launcher like it, gives its processes."""
    return all(environment.get(name) for name in LAUNCHED)


def serves_store(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process serves the store in which ranks find each other: rank 0, unless torchrun does."""
    return environment["RANK"] == "0" and environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True"


def local_rank() -> int:
    """This process's number among those of its node; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def has_other_nodes() -> bool:
    """Whether ranks of the job run on other nodes too."""
    ranks = os.environ.get("WORLD_SIZE", "1")
    return int(os.environ.get("LOCAL_WORLD_SIZE", ranks)) < int(ranks)


@contextmanager
def ending_with_launcher() -> Iterator[None]:
    """Inside, send this process a SIGTERM when the torchrun that started it is gone; without one, do nothing.

    A torchrun that is killed with SIGKILL does not stop its processes, which would go on without it.
    """
    if not launched_by_torchrun():
        yield
        return
    launcher, over = os.getppid(), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            if os.getppid() != launcher:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=watch, name="torchrun", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
