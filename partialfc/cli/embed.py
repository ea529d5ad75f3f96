"""The `partialfc embed` command."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partialfc.cli.arguments import MAX_PIXELS, MaxPixels, Trust, Workers
from partialfc.cli.groups import Selection, grouped

if TYPE_CHECKING:
    from partialfc.serving.embed import Work
    from partialfc.serving.model import Model

ModelPath = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="An .onnx file, an exported folder, the folder of a run or of a checkpoint, or weights.",
        show_default=False,
    ),
]
AnyImages = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGES...",
        help="A folder of class folders or of images, image files, a .rec file, a text list, tar shards, "
        "parquet.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Computing:
    """How images are embedded, and by what."""

    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 64
    workers: Workers = None
    threads: Annotated[
        int | None, typer.Option(min=1, help="That the network computes with. Default: one a core.")
    ] = None
    max_pixels: MaxPixels = MAX_PIXELS
    device: Annotated[
        str, typer.Option(help="cpu, auto, or the accelerator's name, such as cuda or xpu.")
    ] = "auto"
    trust: Trust = None

    @property
    def work(self) -> "Work":
        from partialfc.serving.embed import Work

        return Work(batch_size=self.batch_size, max_pixels=self.max_pixels, workers=self.workers)

    def open(self, model: Path) -> "Model":
        """The network of a file or a folder."""
        from partialfc.serving.model import open_model

        return open_model(model, threads=self.threads, device=self.device, trust=self.trust or ())


@grouped
def embed(
    *,
    context: typer.Context,
    model: ModelPath,
    images: AnyImages,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="File to write: .npy, with the keys and classes in a .txt beside it; or .parquet.",
            show_default=False,
        ),
    ],
    selection: Selection,
    skip_bad: Annotated[
        Path | None,
        typer.Option(
            help="File to write the keys of the images into that cannot be decoded, which are then left out."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew, and replace what an earlier call wrote.")
    ] = False,
    computing: Computing,
) -> None:
    """Write the embeddings of images, rows of norm 1 in the order of the source.

    The same command goes on where one was killed. With an .onnx it needs no torch.
    """
    from partialfc.cli.bars import stages
    from partialfc.cli.outputs import require_output
    from partialfc.cli.values import require_alone
    from partialfc.serving.embed import embed_to_file, listing_of
    from partialfc.serving.images import open_images

    require_alone("embed")
    require_output(context, "--output", output, beside=listing_of(output))
    require_output(context, "--skip-bad", skip_bad)
    opened = open_images(images, **vars(selection))
    network = computing.open(model)
    with stages() as progress:
        rows, skipped = embed_to_file(
            network,
            opened,
            output,
            computing.work,
            skip_bad=skip_bad,
            overwrite=overwrite,
            progress=progress,
        )
    left_out = f", {skipped:,} images left out: {skip_bad}" if skipped else ""
    print(f"{output}: {rows:,} embeddings of {network.embedding_size} numbers{left_out}")
