"""The plain loader: worker processes decode and augment on the CPU."""

from partialfc.data.images.augmentation import Augment
from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.loading.loader import Loader
from partialfc.data.loading.sampler import Order
from partialfc.data.loading.transforms import ToPixels
from partialfc.data.loading.workers import WorkerLoader
from partialfc.data.sources.labelled import Source


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
    max_pixels: int = MAX_PIXELS,
    workers: int = 0,
    pin_memory: bool = False,
    max_bad_records: int = 0,
    timeout_seconds: float = 60.0,
    num_classes: int | None = None,
    order: Order | None = None,
) -> Loader:
    """This rank's part of each global batch of `source`, from stream position `position` on.

    Images and their augmentation are the same for any number of workers and any world size. An image whose
    header claims more than `max_pixels` is a record that cannot be decoded. The other arguments and the
    errors are WorkerLoader's.
    """
    return WorkerLoader(
        source,
        ToPixels(image_size=image_size, channels=channels, augment=augment, seed=seed, max_pixels=max_pixels),
        global_batch=global_batch,
        rank=rank,
        world_size=world_size,
        seed=seed,
        position=position,
        workers=workers,
        pin_memory=pin_memory,
        max_bad_records=max_bad_records,
        timeout_seconds=timeout_seconds,
        num_classes=num_classes,
        order=order,
    )
