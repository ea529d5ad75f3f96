"""What every loader of batches has in common: a position that is its whole state, and an end."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, Self, TypeVar

import torch

from partialfc.data.loading.sampler import position_of

Content = TypeVar("Content")


class BatchLoader(ABC, Generic[Content]):
    """An endless iterator of (content, labels int64 [B]): this rank's part of each global batch.

    After an error it is closed and its position unchanged, so that reading on tries the same batch again.
    """

    def __init__(self, position: int) -> None:
        self._position = position

    @property
    def position(self) -> int:
        """Global samples handed out so far, over all ranks; what is read ahead does not count."""
        return self._position

    @property
    @abstractmethod
    def queued(self) -> int:
        """Batches that are read ahead and wait to be taken."""

    @property
    @abstractmethod
    def bad_records(self) -> int:
        """Different records that this rank has met since it was built and could not decode."""

    def state_dict(self) -> dict[str, int]:
        return {"position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at a saved position, whatever loader, world size and workers it was saved with."""
        self._position = position_of(state)
        self.close()

    def __iter__(self) -> Self:
        return self

    @abstractmethod
    def __next__(self) -> tuple[Content, torch.Tensor]: ...

    @abstractmethod
    def close(self) -> None:
        """Stop reading ahead. Reading on afterwards starts again at the current position."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


Batch = tuple[torch.Tensor, torch.Tensor]  # images uint8 [B, C, H, W], labels int64 [B]
Loader = BatchLoader[torch.Tensor]  # what training reads from: the plain loader, or DALI's
