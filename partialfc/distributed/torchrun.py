"""What torchrun tells its processes, and its end."""

import os
import signal
import threading
import time

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def launched_by_torchrun() -> bool:
    return all(name in os.environ for name in LAUNCHED)


def local_rank() -> int:
    """This process's place among those of its node; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def has_other_nodes() -> bool:
    """Whether ranks of the job run on other nodes too."""
    ranks = os.environ.get("WORLD_SIZE", "1")
    return int(os.environ.get("LOCAL_WORLD_SIZE", ranks)) < int(ranks)


def end_with_launcher() -> None:
    """A torchrun that is killed outright leaves its workers alive: this one then stops, as by SIGTERM."""
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
