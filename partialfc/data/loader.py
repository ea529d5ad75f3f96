"""What training reads from, and the loader that decodes on the CPU."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import torch

from partialfc.data.augmentation import Augment
from partialfc.data.source import Source
from partialfc.data.transforms import ToPixels
from partialfc.data.worker_loader import WorkerLoader

Batch = tuple[torch.Tensor, torch.Tensor]  # images uint8 [B, C, H, W], labels int64 [B]


class Loader(Protocol):
    """An endless iterator of batches; made by `build_loader` or partialfc.data.dali.build_dali_loader."""

    @property
    def position(self) -> int:
        """Global samples handed out so far, over all ranks; what is read ahead does not count."""
        ...

    @property
    def queued(self) -> int:
        """Batches that are read ahead and wait to be taken."""
        ...

    @property
    def bad_records(self) -> int:
        """Different records that this rank has met and could not decode."""
        ...

    def state_dict(self) -> dict[str, int]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at a saved position, whatever loader, world size and workers it was saved with."""
        ...

    def __iter__(self) -> Self: ...

    def __next__(self) -> Batch: ...

    def close(self) -> None:
        """Stop reading ahead. Reading on afterwards starts again at the current position."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def build_loader(
    source: Source,
    *,
    global_batch: int,
    rank: int = 0,
    world_size: int = 1,
    seed: int,
    position: int = 0,
    image_size: int,
    channels: int,
    augment: Augment,
    workers: int = 0,
    pin_memory: bool = False,
    max_bad_records: int = 0,
    timeout_seconds: float = 60.0,
) -> Loader:
    """This rank's part of each global batch of `source`, from stream position `position` on.

    Images and their augmentation are the same for any number of workers and any world size; the other
    arguments and the errors are WorkerLoader's.
    """
    return WorkerLoader(
        source,
        ToPixels(image_size=image_size, channels=channels, augment=augment, seed=seed),
        global_batch=global_batch,
        rank=rank,
        world_size=world_size,
        seed=seed,
        position=position,
        workers=workers,
        pin_memory=pin_memory,
        max_bad_records=max_bad_records,
        timeout_seconds=timeout_seconds,
    )
