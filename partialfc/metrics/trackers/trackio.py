"""Trackio: an SQLite file in TRACKIO_DIR, or where TRACKIO_SPACE_ID or TRACKIO_SERVER_URL say."""

import contextlib
import contextvars
import itertools
import sys
import warnings
from collections.abc import Mapping
from typing import Any

from partialfc.errors import TrackerError
from partialfc.metrics.trackers.tracker import KeptError, TrackedRun, package

KEPT = "to the remote server"  # in what it says of figures that it sends when it next can


class Trackio:
    """A run of its own for each run folder, as Trackio knows runs by their names."""

    forgets = False
    settles_after = 5.0  # it writes twice a second
    _package: Any
    _run: Any

    def require(self) -> None:
        self._package = package("trackio", "trackio")

    def start(self, run: TrackedRun) -> str:
        with contextlib.redirect_stdout(sys.stderr):  # it prints
            self._run = contextvars.copy_context().run(  # else it would be finished once more at exit
                self._package.init,
                run.project,
                name=run.id or _free_name(self._package, run),
                config=dict(run.config),
                resume="never" if run.id is None else "allow",
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        self._send_kept(run.project)
        return str(self._run.name)

    def _send_kept(self, project: str) -> None:
        """What a run before this one could not send to a server of one's own is sent, as trackio itself does
        it for a Space; a version of another inside sends it after the next error.
        """
        with contextlib.suppress(AttributeError):
            if self._package.sqlite_storage.SQLiteStorage.has_pending_data(project):
                self._run._has_local_buffer = True

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def finish(self, *, failed: bool) -> None:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", UserWarning)
            self._run.finish()
        lost = [str(each.message).lstrip("* ") for each in told if each.category is UserWarning]
        if lost:  # it warns of what it cannot send, and raises nothing
            kept = all(KEPT in each for each in lost)
            raise (KeptError if kept else TrackerError)(" ".join(lost))


def _free_name(trackio: Any, run: TrackedRun) -> str:
    """The run's name, with a number where another run of the project has it."""
    try:
        taken = {each.name for each in trackio.Api().runs(run.project)}
    except ValueError:  # there is no such project yet
        taken = set()
    names = (run.name if count == 1 else f"{run.name}-{count}" for count in itertools.count(1))
    return next(name for name in names if name not in taken)
