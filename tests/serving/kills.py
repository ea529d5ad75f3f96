"""A program that does one thing to files again and again, killed each time a step further.

In a process of its own (see `kill_at_each_step`), which forks for each time: it has no threads.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.processes import ENVIRONMENT, warm_python

EVENTS = ("open", "os.rename", "os.remove")


@dataclass(frozen=True, slots=True)
class Setting:
    """act(time) is killed where it opens, renames or deletes a file with `where` in its path, for the time-th
    time. prepare(time) comes before, look(time) behind; it gives JSON.
    """

    where: str
    act: Callable[[int], None]
    look: Callable[[int], Any]
    prepare: Callable[[int], Any] = lambda time: None


def kill_at_each_step(setting: str, *arguments: object, cwd: Path) -> list[Any]:
    """What `look` said after each kill, and at last after an end without one.

    setting: the name of a function of arguments -> a Setting.
    """
    module, _, name = setting.rpartition(".")
    program = f"from tests.serving.kills import run; from {module} import {name}; run({name})"
    done = warm_python().run("-c", program, *arguments, env=ENVIRONMENT, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def run(setting: Callable[..., Setting]) -> None:
    each = setting(*sys.argv[1:])
    time = 0
    while True:
        time += 1
        each.prepare(time)
        pid = os.fork()
        if not pid:
            _kill(time, each.where)
            each.act(time)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, -signal.SIGKILL), code
        print(json.dumps(each.look(time)), flush=True)
        if code == 0:
            return


def _kill(time: int, where: str) -> None:
    left = time

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in EVENTS and where in str(arguments[0]):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
