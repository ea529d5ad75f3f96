"""What a run shows people while it trains: a bar on a terminal, else plain lines."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from partialfc.files import discard

log = logging.getLogger(__name__)

BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class Progress:
    """What rank 0 shows; where not active, as on the other ranks, every call does nothing."""

    def __init__(self, *, active: bool, total_steps: int, start_step: int) -> None:
        self._active = active
        self._bar: Any = None
        if active and sys.stderr.isatty():
            self._bar = tqdm(total=total_steps, initial=start_step, bar_format=BAR, dynamic_ncols=True)

    def say(self, text: str) -> None:
        """Print a line, above the bar where there is one."""
        with self._while_someone_reads():
            if self._bar is not None:
                self._bar.write(text)
            elif self._active:
                print(text, flush=True)

    def advance(self, step: int, summary: str, seconds_left: float) -> None:
        """At each log line: move the bar to the step, or print a line. summary: what the step came to."""
        with self._while_someone_reads():
            if self._bar is not None:
                self._bar.set_postfix_str(summary, refresh=False)
                self._bar.update(step - self._bar.n)
            elif self._active:
                left = time.strftime("%H:%M:%S", time.gmtime(seconds_left))
                days = f"{int(seconds_left // 86400)}d " if seconds_left >= 86400 else ""
                print(f"step {step}  {summary}  left {days}{left}", flush=True)

    def close(self) -> None:
        with self._while_someone_reads():
            if self._bar is not None:
                self._bar.close()

    @contextmanager
    def _while_someone_reads(self) -> Iterator[None]:
        """Show nothing more once that fails: the terminal is lost, a pipe closed, or a log's disk full."""
        try:
            yield
        except OSError as error:
            discard(sys.stdout if self._bar is None else sys.stderr)
            self._active, self._bar = False, None
            log.warning("what the run prints cannot be shown any more (%s); training goes on", error.strerror)
