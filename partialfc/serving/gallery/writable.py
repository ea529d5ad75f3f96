"""A gallery that is changed while it is searched."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from partialfc.files import told
from partialfc.serving.gallery.changes import Change, log_of
from partialfc.serving.gallery.gallery import Gallery
from partialfc.serving.gallery.manifest import Manifest, changing, read_manifest, tidy
from partialfc.serving.gallery.update import begin_log

logger = logging.getLogger(__name__)


class WritableGallery(Gallery):
    """The gallery in a folder, which this process alone changes until `close`.

    A change is appended to the gallery's log. What the log has from the last time becomes part of the other
    files as it is opened, if the disk has room. Raises ConfigError where another process changes it, and what
    Gallery raises.
    """

    def __init__(self, folder: str | Path) -> None:
        with ExitStack() as stack:
            stack.enter_context(changing(Path(folder)))
            manifest = _with_log(Path(folder))
            super().__init__(folder)
            assert manifest.log is not None
            self._log = stack.enter_context(log_of(self.folder, manifest.log, self.card, writable=True))
            list(self._log.read())  # which finds its end
            self._open = stack.pop_all()

    def change(self, changes: Sequence[Change]) -> list[int]:
        """Make changes, in their order -> of each how many rows came or went. Called by one thread.

        They are on the disk when it returns. Raises OSError where they cannot be put there; then none of them
        is made.
        """
        self._log.append(changes)
        self._view, counts = self._view.after(changes)
        return counts

    def close(self) -> None:
        """Let another process change it."""
        self._open.close()


def _with_log(folder: Path) -> Manifest:
    """A gallery whose log may be appended to; where the disk has no room, with all that it has."""
    try:
        return begin_log(folder)
    except OSError as error:
        manifest = read_manifest(folder)
        if manifest.log is None:
            raise
        tidy(folder, manifest)  # changes need the room that is left
        logger.warning("%s: its log stays as it is: %s", folder, told(error))
        return manifest
