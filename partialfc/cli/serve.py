"""The `partialfc serve` command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import Trust
from partialfc.cli.groups import grouped
from partialfc.serving.service.limits import Limits

USUAL = Limits()


@dataclass(frozen=True)
class Limiting:
    """What `Limits` takes."""

    max_image_bytes: Annotated[int, typer.Option(help="Bytes of one encoded image.")] = USUAL.max_image_bytes
    max_request_bytes: Annotated[
        int, typer.Option(help="Bytes of a request's body; eight times as many may be in memory.")
    ] = USUAL.max_request_bytes
    max_pixels: Annotated[int, typer.Option(help="Pixels of an image, by its header.")] = USUAL.max_pixels
    max_images: Annotated[int, typer.Option(help="Images of one request.")] = USUAL.max_images
    max_batch: Annotated[
        int | None,
        typer.Option(
            help=f"Images in one call of the model. Default: up to {USUAL.max_batch}, as many as it is fast "
            "with, which is measured when the service starts.",
            show_default=False,
        ),
    ] = None
    max_wait_ms: Annotated[
        float, typer.Option(help="How long a call that is not full waits for images that are being decoded.")
    ] = USUAL.max_wait_ms
    queue: Annotated[
        int, typer.Option(help="Images that may be decoded or wait for the model; more are answered 503.")
    ] = USUAL.queue
    timeout: Annotated[
        float,
        typer.Option(
            help="Seconds to read a head or a body, to embed images, and to search or change the gallery."
        ),
    ] = USUAL.timeout


@grouped
def serve(
    *,
    model: Annotated[
        Path,
        typer.Argument(
            help="An exported .onnx or folder, which needs no torch, or a run's folder or checkpoint.",
            show_default=False,
        ),
    ],
    gallery: Annotated[
        Path | None,
        typer.Option(help="Folder of a gallery, for /search; made where there is none.", show_default=False),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; one that others reach needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the token that requests must have; default: PARTIALFC_TOKEN of the environment."
        ),
    ] = None,
    far: Annotated[
        float | None,
        typer.Option(
            help="False accept rate whose threshold of the model's card is used. Default: the card's lowest."
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Cosine from which on two images are the same; not the card's.")
    ] = None,
    given: Limiting,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the model. Default: one a core.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, or the accelerator's name, such as cuda.")] = "cpu",
    trust: Trust = None,
) -> None:
    """Serve a model over HTTP: embeddings, verification, search in a gallery; with metrics."""
    from partialfc.serving.service.start import run

    run(
        model,
        gallery=gallery,
        host=host,
        port=port,
        token_file=token_file,
        far=far,
        threshold=threshold,
        limits=Limits(**{name: value for name, value in vars(given).items() if value is not None}),
        measure_batch=given.max_batch is None,
        threads=threads,
        device=device,
        trust=trust or (),
        say=lambda line: print(line, flush=True),
    )
