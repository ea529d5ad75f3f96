"""The `partialfc gallery` commands."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from partialfc.cli.embed import AnyImages, Computing, ModelPath
from partialfc.cli.groups import Selection, grouped

if TYPE_CHECKING:
    from partialfc.serving.gallery.gallery import Gallery
    from partialfc.serving.model import Model

gallery_app = typer.Typer(
    help="Keep embeddings with names, and find who is in an image.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(metavar="GALLERY", help="Folder of the gallery.", show_default=False)]
OtherPlace = Annotated[
    Path | None,
    typer.Option("--model", help="The model, where it does not lie where it did when the gallery was built."),
]
SkipBad = Annotated[
    Path | None,
    typer.Option(
        help="File to write the keys of the images into that cannot be decoded, which are left out."
    ),
]
Index = Literal["float32", "float16", "int8", "faiss"]


@gallery_app.command()
@grouped
def build(
    *,
    context: typer.Context,
    folder: Folder,
    model: ModelPath,
    images: AnyImages,
    mean: Annotated[
        bool, typer.Option("--mean", help="A row for each class, the mean of its images; else one an image.")
    ] = False,
    index: Annotated[
        Index,
        typer.Option(
            help="How rows are kept; int8: in a quarter of the room; faiss: with an index as --faiss."
        ),
    ] = "float32",
    faiss: Annotated[
        str, typer.Option(metavar="FACTORY", help="faiss's own words for an index, such as IVF4096,Flat.")
    ] = "HNSW32",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the gallery that is there.")
    ] = False,
    skip_bad: SkipBad = None,
    selection: Selection,
    computing: Computing,
) -> None:
    """Build a gallery of images: each under the name of its class, or else of its file."""
    from partialfc.cli.bars import stages
    from partialfc.cli.outputs import require_output
    from partialfc.cli.values import is_given, require_alone
    from partialfc.errors import ConfigError
    from partialfc.files import require_folder
    from partialfc.serving.gallery.enrol import build_gallery
    from partialfc.serving.images import open_images

    require_alone("gallery")
    if index != "faiss" and is_given(context, "faiss"):
        raise ConfigError(f"--faiss is for --index faiss, and --index is {index}: leave one of them out")
    require_folder("GALLERY", folder)
    require_output(context, "--skip-bad", skip_bad)
    opened = open_images(images, **vars(selection))
    network = computing.open(model)
    with stages() as progress:
        rows = build_gallery(
            folder,
            network,
            opened,
            computing.work,
            model=model,
            mean=mean,
            storage="float32" if index == "faiss" else index,
            faiss=faiss if index == "faiss" else None,
            overwrite=overwrite,
            skip_bad=skip_bad,
            progress=progress,
        )
    print(f"{folder}: {rows:,} rows of {network.embedding_size} numbers")


@gallery_app.command()
@grouped
def add(
    *,
    context: typer.Context,
    folder: Folder,
    images: AnyImages,
    model: OtherPlace = None,
    skip_bad: SkipBad = None,
    selection: Selection,
    computing: Computing,
) -> None:
    """Add images to a gallery: in one of --mean their classes' means."""
    from partialfc.cli.bars import stages
    from partialfc.cli.outputs import require_output
    from partialfc.cli.values import require_alone
    from partialfc.serving.gallery.enrol import add_to_gallery
    from partialfc.serving.gallery.gallery import Gallery
    from partialfc.serving.images import open_images

    require_alone("gallery")
    require_output(context, "--skip-bad", skip_bad)
    gallery = Gallery(folder)
    opened = open_images(images, **vars(selection))
    network = _model_of(gallery, model, computing)
    with stages() as progress:
        added = add_to_gallery(gallery, network, opened, computing.work, skip_bad=skip_bad, progress=progress)
    print(f"{folder}: {added:,} rows more, {len(Gallery(folder)):,} now")


@gallery_app.command()
def remove(
    folder: Folder,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names.", show_default=False)],
) -> None:
    """Remove all rows with these names from a gallery."""
    from partialfc.serving.gallery.gallery import Gallery
    from partialfc.serving.gallery.update import remove_names

    removed = remove_names(folder, names)
    print(f"{folder}: {removed:,} rows less, {len(Gallery(folder)):,} now")


@gallery_app.command()
@grouped
def search(
    *,
    context: typer.Context,
    folder: Folder,
    images: AnyImages,
    k: Annotated[int, typer.Option("-k", min=1, help="How many of the best matches to show.")] = 5,
    far: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="An image whose best match has less than the cosine at this false accept rate, by the "
            "model's card, is nobody.",
            show_default=False,
        ),
    ] = None,
    far_set: Annotated[
        str | None,
        typer.Option(help="The card's set of pairs that the rate is of. Default: the first one that has it."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=-1, max=1, metavar="COSINE", help="In place of --far, the cosine itself.", show_default=False
        ),
    ] = None,
    model: OtherPlace = None,
    skip_bad: SkipBad = None,
    selection: Selection,
    computing: Computing,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each image.")] = False,
) -> None:
    """Tell who is in each image: the best name and its cosine, or nobody."""
    from partialfc.cli.outputs import require_output
    from partialfc.cli.values import require_alone, require_rates
    from partialfc.errors import ConfigError
    from partialfc.serving.gallery.answers import as_json_line, as_text, threshold_of
    from partialfc.serving.gallery.enrol import searched
    from partialfc.serving.gallery.gallery import Gallery
    from partialfc.serving.images import open_images

    require_alone("gallery")
    require_rates("--far", () if far is None else (far,))
    if far is not None and threshold is not None:
        raise ConfigError("--far and --threshold both say when an image is nobody; give one of them")
    if far is None and far_set is not None:
        raise ConfigError(
            "--far-set says which set of pairs --far is of, which is not there: add it, or leave both out"
        )
    require_output(context, "--skip-bad", skip_bad)
    gallery = Gallery(folder)
    opened = open_images(images, **vars(selection))
    network = _model_of(gallery, model, computing)
    least = threshold if far is None else threshold_of(gallery.card, network.card, far, far_set)
    found = searched(
        gallery, network, opened, computing.work, k, threads=computing.threads or 1, skip_bad=skip_bad
    )
    for key, matches in found:
        print(as_json_line(key, matches, least) if as_json else as_text(key, matches, least))


def _model_of(gallery: "Gallery", place: Path | None, computing: Computing) -> "Model":
    """The gallery's model, from where it was, or from `place`."""
    from partialfc.errors import DataError

    path = place or gallery.model
    if path is None:
        raise DataError(f"{gallery.folder} does not say where its model lies; say where it is: --model PATH")
    if place is None and not path.exists():
        raise DataError(
            f"{path}: the model that {gallery.folder} was built with is not there; say where it is: --model "
            "PATH"
        )
    network = computing.open(path)
    gallery.require(network.card)
    return network
