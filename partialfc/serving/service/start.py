"""`partialfc serve`: from its options to a service that listens."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from prometheus_client import disable_created_metrics

from partialfc import __version__
from partialfc.errors import MissingExtraError, installing
from partialfc.serving.model import Model, open_model
from partialfc.serving.service.batch_size import measured_batch
from partialfc.serving.service.gallery import ServedGallery
from partialfc.serving.service.limits import Limits
from partialfc.serving.service.numbers import Numbers
from partialfc.serving.service.thresholds import Thresholds
from partialfc.serving.service.token import read_token

try:
    from partialfc.serving.service.app import build_app
    from partialfc.serving.service.searcher import Searcher
    from partialfc.serving.service.server import listen, listening_socket, serve, url_of
    from partialfc.serving.service.service import Service
except ImportError as error:
    raise MissingExtraError(
        f"serve needs {error.name}, which is not installed: {installing('serve')}"
    ) from error


def run(
    path: Path,
    *,
    gallery: Path | None,
    host: str,
    port: int,
    token_file: Path | None,
    far: float | None,
    threshold: float | None,
    limits: Limits,
    measure_batch: bool,
    threads: int | None,
    device: str,
    trust: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Serve the model of `path`, with a gallery if one is given, until SIGTERM.

    measure_batch: whether a call takes as many images as the model is fast with, up to `limits.max_batch`.
    say: gets a line once it listens, with the address.

    Raises ConfigError for options that do not fit, and what `open_model` raises.
    """
    token = read_token(token_file)
    bound = listening_socket(host, port, has_token=token is not None)
    model = open_model(path, threads=threads, device=device, trust=trust)
    thresholds = Thresholds(model.card, far=far, fixed=threshold)
    _warm_up(model)
    if measure_batch:
        clock = time.process_time if device == "cpu" else time.perf_counter
        limits = replace(limits, max_batch=measured_batch(model, most=limits.max_batch, clock=clock))
    disable_created_metrics()  # type: ignore[no-untyped-call]
    numbers = Numbers(version=__version__, model=model.card.name)
    opened = None
    if gallery is not None:
        opened = ServedGallery(gallery, model.card, model=path, writable=token is not None)
    service = Service(model, limits=limits, thresholds=thresholds, numbers=numbers)
    searcher = None if opened is None else Searcher(opened, limits=limits, numbers=numbers)
    listen(bound)
    serve(
        build_app(service, searcher, token=token),
        bound,
        client_seconds=limits.timeout,
        grace_seconds=limits.longest_seconds,
        ready=lambda: say(f"serving {model.card.name} at {url_of(bound)}"),
    )


def _warm_up(model: Model) -> None:
    """Embed something, as the first call takes longer than the others; raises what that raises."""
    pixels = np.random.default_rng(0).integers(
        256, size=(1, model.image_size, model.image_size, model.channels), dtype=np.uint8
    )
    model.embed(pixels)
