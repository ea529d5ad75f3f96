"""The loader that decodes and augments with NVIDIA DALI: on a GPU, or without one on CPU threads.

Reading, checking, order and everything random are those of the plain loader's workers; DALI gets encoded
images and what was drawn for each, and keeps no state that a resume would need.
docs/explanation/data.md says more.
"""

import importlib
import re
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.dlpack import from_dlpack

from partialfc.data.images.augmentation import Augment
from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.loading.dali_graph import build_pipeline
from partialfc.data.loading.dali_package import extra
from partialfc.data.loading.loader import Batch, BatchLoader, Loader
from partialfc.data.loading.sampler import Order
from partialfc.data.loading.transforms import EncodedImages, ToEncoded
from partialfc.data.loading.workers import WorkerLoader
from partialfc.data.sources.labelled import Source
from partialfc.errors import ImageError, MissingExtraError, PartialFCError

DEPTH = 2  # batches given to DALI: one is decoded while training uses the one before


def build_dali_loader(
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
    device: torch.device,
    workers: int = 0,
    max_bad_records: int = 0,
    timeout_seconds: float = 60.0,
    num_classes: int | None = None,
    order: Order | None = None,
) -> Loader:
    """As partialfc.data.loading.plain.build_loader, with images on `device`, a CUDA device or the CPU.

    `workers` processes read and check, and as many of DALI's threads, at least one, decode. Labels stay on
    the CPU. Raises what build_loader raises, and MissingExtraError where DALI is not installed.
    """
    dali = _import_dali()
    encoded = WorkerLoader(
        source,
        ToEncoded(
            image_size=image_size, channels=channels, augment=augment, seed=seed, max_pixels=max_pixels
        ),
        global_batch=global_batch,
        rank=rank,
        world_size=world_size,
        seed=seed,
        position=position,
        workers=workers,
        pin_memory=False,
        max_bad_records=max_bad_records,
        timeout_seconds=timeout_seconds,
        num_classes=num_classes,
        order=order,
    )
    pipeline = partial(
        build_pipeline,
        dali,
        batch_size=encoded.batch_size,
        threads=max(1, workers),
        depth=DEPTH,
        device=device,
        options=augment,
        image_size=image_size,
        channels=channels,
    )
    return DaliLoader(encoded, pipeline, source, global_batch=global_batch, workers=workers, device=device)


class DaliLoader(BatchLoader[torch.Tensor]):
    """An endless iterator of (images uint8 [B, C, H, W] on the device, labels int64 [B]).

    Workers and DALI start with the first batch and run until `close()` or the end of a `with` block. An
    error is raised when its batch is due.
    """

    def __init__(
        self,
        encoded: WorkerLoader[EncodedImages],
        build_pipeline: Callable[[Callable[[], EncodedImages]], Any],
        source: Source,
        *,
        global_batch: int,
        workers: int,
        device: torch.device,
    ) -> None:
        super().__init__(encoded.position)
        self._encoded = encoded
        self._build_pipeline = build_pipeline
        self._source = source
        self._global_batch = global_batch
        self._workers = workers
        self._device = device
        self._pipeline: Any = None
        self._labels: deque[torch.Tensor] = deque()  # of the batches that DALI has
        self._failure: PartialFCError | None = None  # of the batch that follows them

    @property
    def batch_size(self) -> int:
        return self._encoded.batch_size

    @property
    def queued(self) -> int:
        return len(self._labels) + self._encoded.queued

    @property
    def bad_records(self) -> int:
        return self._encoded.bad_records

    def __next__(self) -> Batch:
        try:
            self._fill()
            images = self._decoded()
        except BaseException:
            self.close()
            raise
        self._position += self._global_batch
        return images, self._labels.popleft()

    def close(self) -> None:
        self._encoded.load_state_dict(self.state_dict())
        self._pipeline = None
        self._labels.clear()
        self._failure = None

    def _fill(self) -> None:
        """Give DALI the next batches: at least one, and more if the workers have them ready."""
        if self._pipeline is None:
            self._pipeline = self._build_pipeline(self._feed)
        while self._failure is None and len(self._labels) < DEPTH:
            if self._labels and self._workers and not self._encoded.queued:
                return
            try:
                self._pipeline.schedule_run()  # calls _feed, the first time for DEPTH batches
            except PartialFCError as error:
                self._failure = error
        if self._failure is not None and not self._labels:
            raise self._failure

    def _feed(self) -> EncodedImages:
        """The next batch for DALI, which calls this."""
        batch, labels = next(self._encoded)
        self._labels.append(labels)
        return batch

    def _decoded(self) -> torch.Tensor:
        """The oldest batch that DALI has. On a GPU it is not copied, and the current stream waits for it."""
        stream = torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None
        try:
            (images,) = self._pipeline.outputs(cuda_stream=stream)
        except RuntimeError as error:
            raise self._explain(error) from error
        return from_dlpack(images.as_tensor())

    def _explain(self, error: RuntimeError) -> Exception:
        """An error that names the image which DALI refused; any other error as it is."""
        refused = re.search(r"Failed to decode sample #(\d+)", str(error))
        if refused is None:
            return error
        index = self._encoded.indices_at(self._position)[int(refused[1])]
        return ImageError(
            f"{self._source.name(index)}: NVIDIA DALI cannot decode it, though it passed the check of its "
            "stream and checksums; encode it anew, or set data.loader to plain"
        )


def _import_dali() -> Any:
    try:
        dali = importlib.import_module("nvidia.dali")
        importlib.import_module("nvidia.dali.fn")
    except ImportError as error:
        raise MissingExtraError(
            f"data.loader is dali, but NVIDIA DALI is not installed: pip install 'partialfc[{extra()}]', "
            "or set data.loader to plain"
        ) from error
    return dali
