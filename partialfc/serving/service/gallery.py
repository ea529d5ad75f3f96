"""The gallery of a service: searched, and changed so that nothing that was answered is lost."""

from collections.abc import Sequence
from pathlib import Path

from partialfc.errors import DataError
from partialfc.serving.card import Card
from partialfc.serving.service.added import Added, Match, Rows
from partialfc.serving.service.changes import FILE, Change, Changes


class ServedGallery:
    """The gallery in a folder, which is made where there is none, with the changes that it got while served.

    A change is on the disk before `change` returns. One process at a time may have it open.

    Raises DataError where it was made with another model, is damaged, or is open elsewhere.
    """

    def __init__(self, folder: Path, card: Card) -> None:
        if folder.exists() and not folder.is_dir():
            raise DataError(f"--gallery {folder} is no folder")
        folder.mkdir(exist_ok=True)
        self._added = Added(card.embedding_size)
        self._changes = Changes(folder / FILE, identity=card.identity, width=card.embedding_size)
        try:
            for change in self._changes.read():
                self._added.apply(change)
        except BaseException:
            self._changes.close()
            raise

    def __len__(self) -> int:
        """How many rows it has."""
        return len(self._added)

    @property
    def names(self) -> int:
        """How many names have rows."""
        return self._added.names

    def count(self, name: str) -> int:
        """The rows of a name."""
        return self._added.count(name)

    def search(self, queries: Rows, k: int) -> list[list[Match]]:
        """Unit rows [n, D] -> for each the k names with the nearest rows, or fewer, the best one first."""
        return self._added.search(queries, k)

    def change(self, changes: Sequence[Change]) -> list[int]:
        """Make changes, in their order; of each how many rows came or went. Called by one thread.

        Raises OSError where they cannot be put on the disk; then none of them is made.
        """
        self._changes.append(changes)
        return [self._added.apply(each) for each in changes]

    def close(self) -> None:
        """Let another process have it."""
        self._changes.close()
