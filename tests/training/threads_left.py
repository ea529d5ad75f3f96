"""`partialfc` with these arguments; at its end the names of the threads that are left."""

import sys
import threading
from pathlib import Path

from partialfc.cli.app import main


def run() -> None:
    try:
        main()
    finally:
        left = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
        of_python = [thread.name for thread in threading.enumerate()]
        others = [name for name in left if name != "python"]
        print("left:", *of_python, *others, file=sys.stderr, flush=True)


if __name__ == "__main__":  # the loader's workers import this file
    run()
