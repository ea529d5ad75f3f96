"""What the routes share: the model behind its queue, thresholds, limits and metrics."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus

import numpy as np
import numpy.typing as npt
from starlette.requests import Request

from partialfc.errors import DataError
from partialfc.serving.model import Model
from partialfc.serving.service.batcher import Batcher, FailedCallError, Place
from partialfc.serving.service.body import Body, Held
from partialfc.serving.service.limits import Limits
from partialfc.serving.service.numbers import Numbers
from partialfc.serving.service.pixels import pixels_of
from partialfc.serving.service.problem import Problem, busy, unprocessable
from partialfc.serving.service.thresholds import Thresholds

Image = npt.NDArray[np.uint8]  # [S, S, channels]
Row = npt.NDArray[np.float32]  # [D]
CLIENT_CLOSED = 499  # nginx's word for an answer that nobody waits for


class Service:
    """A model that requests share."""

    def __init__(self, model: Model, *, limits: Limits, thresholds: Thresholds, numbers: Numbers) -> None:
        self.model, self.limits, self.thresholds, self.numbers = model, limits, thresholds, numbers
        self.held = Held(limits.held_bytes)
        self._decoders = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")
        self._batcher: Batcher[Image, Row] = Batcher(
            "inference",
            self._rows,
            largest=limits.max_batch,
            wait_seconds=limits.max_wait_ms / 1000,
            capacity=limits.queue,
            watch=numbers.called,
        )
        numbers.max_batch.set(limits.max_batch)
        numbers.follow(
            ready=lambda: self.ready, queue=lambda: self._batcher.waiting, held=lambda: self.held.now
        )

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self._batcher.alive

    async def embed(self, request: Request, *, images: int | None = None) -> npt.NDArray[np.float32]:
        """The images of a request's body -> unit rows [n, D].

        images: how many there must be; without it, any number that the limits allow. Raises Problem.
        """
        if self._batcher.waiting >= self.limits.queue:  # told before its body takes memory
            raise busy("queue", f"{self.limits.queue} images", "is full: try again later")
        headers = request.headers
        with Body(
            headers.get("content-type", ""), headers.get("content-length"), self.limits, self.held
        ) as body:
            encoded = await body.images(request.stream())
            if images is not None and len(encoded) != images:
                raise unprocessable("images", len(encoded), f"must be {images} for this route")
            with self._batcher.place(len(encoded)) as place:
                async with deadline(self.limits.timeout):
                    loop = asyncio.get_running_loop()
                    pixels = await loop.run_in_executor(self._decoders, self._pixels, encoded, place)
                    return np.stack(await place.results(list(pixels)))

    def close(self) -> None:
        """End the threads; what waits is answered."""
        self._batcher.close()
        self._decoders.shutdown(cancel_futures=True)

    def _pixels(self, encoded: Sequence[bytes], place: Place[Image, Row]) -> npt.NDArray[np.uint8]:
        """Those of a request, or of a part of it where its time is over, so that others get theirs."""
        return pixels_of(
            encoded,
            size=self.model.image_size,
            channels=self.model.channels,
            max_pixels=self.limits.max_pixels,
            wanted=lambda: place.held,
        )

    def _rows(self, images: Sequence[Image]) -> list[Row | Exception]:
        """A row for each image; an error for one that has no embedding, which is not the others' affair."""
        try:
            return list(self.model.embed(np.stack(images)))
        except DataError as error:
            if len(images) == 1:
                return [_NoEmbeddingError(str(error))]
            return [row for image in images for row in self._rows([image])]


class _NoEmbeddingError(Exception):
    """The model gives a row without a direction for this image."""


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Raises Problem: 504 where the block takes longer, 422 where an image has no embedding, 500 where the
    call fails that it waits for.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        rule = f"must be there within {seconds:g} seconds (--timeout): try again later, or with fewer images"
        raise Problem(HTTPStatus.GATEWAY_TIMEOUT, "answer", "not ready", rule) from error
    except _NoEmbeddingError as error:
        raise unprocessable("images", str(error), "must be of what the model was trained on") from error
    except FailedCallError as error:
        rule = "must not fail: see the service's log"
        raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, error.call, str(error), rule) from error
