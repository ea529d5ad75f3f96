"""The batches that a run trains on, and what happens to all ranks when one of them has none."""

import torch

from partialfc.data.loading.loader import Batch, Loader
from partialfc.distributed.together import raise_together
from partialfc.distributed.world import World
from partialfc.errors import PartialFCError
from partialfc.head.agreement import IGNORE


class Batches:
    """This rank's batches. After its loader has failed, batches without a valid sample.

    So the rank takes part in every collective of the step, until all ranks hear of the failure together.
    channels, image_size: of the images.
    """

    def __init__(self, loader: Loader, world: World, *, channels: int, image_size: int) -> None:
        self._loader = loader
        self._world = world
        self._shape = (loader.batch_size, channels, image_size, image_size)
        self._failure: PartialFCError | None = None

    @property
    def failed(self) -> bool:
        """Whether this rank's loader has failed."""
        return self._failure is not None

    def take(self) -> Batch:
        """The next one."""
        if self._failure is None:
            try:
                return next(self._loader)
            except PartialFCError as error:
                self._failure = error
        return torch.zeros(self._shape, dtype=torch.uint8), torch.full(self._shape[:1], IGNORE)

    def raise_failure(self) -> None:
        """Collective, where the loader of any rank has failed: raise its error, with the rank's number."""
        raise_together(self._world, self._failure)
