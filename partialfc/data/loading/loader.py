"""What all loaders of batches have in common: a position, which is their whole state, and closing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, Self, TypeVar

import torch

from partialfc.data.loading.sampler import position_of

Content = TypeVar("Content")


class BatchLoader(ABC, Generic[Content]):
    """An endless iterator of (content, labels int64 [B]): this rank's part of each global batch.

    After an error it is closed, and its position is unchanged: the next call tries the same batch again.
    """

    def __init__(self, position: int) -> None:
        self._position = position

    @property
    def position(self) -> int:
        """Global samples handed out so far, over all ranks; what is read ahead does not count."""
        return self._position

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Samples of each batch on this rank."""

    @property
    @abstractmethod
    def queued(self) -> int:
        """Batches that were read ahead and not yet taken."""

    @property
    @abstractmethod
    def bad_records(self) -> int:
        """How many different records this rank could not decode since the loader was built."""

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
        """Stop reading ahead. The next batch is read from the current position again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


Batch = tuple[torch.Tensor, torch.Tensor]  # images uint8 [B, C, H, W], labels int64 [B]
Loader = BatchLoader[torch.Tensor]  # what training reads from: the plain loader, or DALI's
