"""The `partialfc export` command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from partialfc.cli.arguments import MAX_PIXELS, AsJson, Flip, MaxPixels, Model
from partialfc.cli.groups import Network, grouped
from partialfc.cli.values import is_given

if TYPE_CHECKING:
    from partialfc.deploy.export.export import Calibration, Exported
    from partialfc.deploy.export.measure import Measuring
    from partialfc.deploy.trained_network import Trained

OF_GRAPH = ("input", "layout", "flip", "unit", "opset")
CARD, GRAPH, EIGHT = "The card", "The graph of onnx, torch and huggingface", "8 bits"


@grouped
def export(
    *,
    context: typer.Context,
    model: Model,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="NAME.onnx, NAME.safetensors or NAME.pt2 to write, or a folder in Hugging Face's layout.",
            show_default=False,
        ),
    ],
    format: Annotated[
        Literal["onnx", "safetensors", "torch", "huggingface"] | None,
        typer.Option(help="What to write, where the suffix of OUT does not say it.", show_default=False),
    ] = None,
    input: Annotated[
        Literal["uint8", "float32"],
        typer.Option(
            help="uint8: pixels 0..255, which the graph puts into -1..1 itself; float32: pixel / 127.5 - 1.",
            rich_help_panel=GRAPH,
        ),
    ] = "uint8",
    layout: Annotated[
        Literal["NCHW", "NHWC"],
        typer.Option(
            help="NCHW: channels before pixels; NHWC: after them, as decoders give images.",
            rich_help_panel=GRAPH,
        ),
    ] = "NCHW",
    flip: Annotated[
        Flip,
        typer.Option(
            help="The mirrored image's embedding, by the graph itself: added (sum), or set behind (concat).",
            rich_help_panel=GRAPH,
        ),
    ] = "none",
    unit: Annotated[
        bool,
        typer.Option(
            "--unit/--no-unit",
            help="Rows of norm 1, whose product is the cosine; or as the network gives them.",
            rich_help_panel=GRAPH,
        ),
    ] = True,
    opset: Annotated[
        int, typer.Option(min=18, max=23, help="Version of ONNX's operators.", rich_help_panel=GRAPH)
    ] = 18,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Products in 8 bits: smaller, and fast on a CPU.", rich_help_panel=EIGHT),
    ] = False,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="Images like those to come, as data.train: their activations decide the ranges of 8 bits.",
            rich_help_panel=EIGHT,
            show_default=False,
        ),
    ] = None,
    calibrate_images: Annotated[
        int, typer.Option(min=1, help="How many of them, drawn at random.", rich_help_panel=EIGHT)
    ] = 512,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(
            help="Pair file for the card's figures and thresholds, as often as you like. Default: those that "
            "the run verified on.",
            rich_help_panel=CARD,
            show_default=False,
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure/--no-measure", help="Whether the card gets figures.", rich_help_panel=CARD),
    ] = True,
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0, help="Draws of identities for their 95 % intervals; 0: none.", rich_help_panel=CARD
        ),
    ] = 1000,
    name: Annotated[
        str | None,
        typer.Option(help="The model's name. Default: the run's folder.", rich_help_panel=CARD),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="What it was trained on. Default: data.train of the run.", rich_help_panel=CARD),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            help="Of the weights, such as apache-2.0 or cc-by-nc-4.0.",
            rich_help_panel=CARD,
            show_default=False,
        ),
    ] = None,
    data_licence: Annotated[
        str | None,
        typer.Option(
            help="Of the images it was trained on, which may bind the weights too.",
            rich_help_panel=CARD,
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass, of pairs.")] = 256,
    max_pixels: MaxPixels = MAX_PIXELS,
    network: Network,
    as_json: AsJson = False,
) -> None:
    """Write a trained network as a file that other programs run, with a card that says how good it is.

    What was written is run and compared with the network before it takes the place of OUT.
    """
    import logging

    from partialfc.deploy.export.export import Request, export_model
    from partialfc.deploy.export.graph import Interface, interface
    from partialfc.deploy.export.out import check_out, format_of
    from partialfc.files import json_text

    kind = format_of(out, format)
    check_out(out, kind)
    _require_use(context, kind, measure=measure)
    calibration = _calibration(int8, calibrate, calibrate_images)
    trained = network.load(model)
    own = interface(pixels=input == "uint8", channels_last=layout == "NHWC", flip=flip, unit=unit)
    if trained.saved is None and not any(is_given(context, name) for name in OF_GRAPH):
        own = Interface()  # of an .onnx, which has its own
    measuring = None
    if measure:
        how = {"batch_size": batch_size, "replicates": bootstrap, "max_pixels": max_pixels}
        measuring = _measuring(trained, pairs or [], network.device, **how)
    done = export_model(
        trained,
        out,
        Request(
            format=kind,
            interface=own,
            opset=opset,
            measuring=measuring,
            int8=calibration,
            name=name,
            data=data,
            licence=licence,
            data_licence=data_licence,
        ),
    )
    if measure and not done.card.figures:
        logging.getLogger(__name__).warning(
            "the card has no figures and no thresholds: give pairs to measure them on with --pairs"
        )
    print(json_text(_values(done, kind)) if as_json else "\n".join(_lines(done, kind)))


def _require_use(context: typer.Context, kind: str, *, measure: bool) -> None:
    """ConfigError for an option that this call has no use for."""
    from partialfc.errors import ConfigError

    useless = {"safetensors": OF_GRAPH, "torch": ("opset",)}.get(kind, ())
    if name := next((each for each in useless if is_given(context, each)), None):
        raise ConfigError(f"--{name} says nothing of the format {kind}: leave it out")
    if not measure and (
        name := next((each for each in ("pairs", "bootstrap") if is_given(context, each)), None)
    ):
        raise ConfigError(f"--{name} is for figures, and --no-measure wants none: leave one of them out")
    if is_given(context, "calibrate_images") and not context.params["int8"]:
        raise ConfigError("--calibrate-images is for --int8, which is not there: add it, or leave both out")
    for name in ("name", "data", "licence", "data_licence"):
        if context.params[name] is not None and not context.params[name].strip():
            raise ConfigError(f"--{name.replace('_', '-')} is empty; say something, or leave it out")


def _calibration(int8: bool, places: list[str] | None, count: int) -> "Calibration | None":
    from partialfc.data.sources.source import open_source
    from partialfc.deploy.export.export import Calibration
    from partialfc.errors import ConfigError

    if not int8:
        if places:
            raise ConfigError("--calibrate is for --int8, which is not there: add it, or leave both out")
        return None
    if not places:
        raise ConfigError("--int8 needs --calibrate SOURCE, images like those to come")
    return Calibration(source=open_source(places), images=count)


def _measuring(trained: "Trained", pairs: list[Path], device: str, **how: Any) -> "Measuring | None":
    """On the pairs that were given, or on those of the run that are there; a warning names others."""
    import logging

    from partialfc.deploy.export.card import verification_sets
    from partialfc.deploy.export.measure import Measuring
    from partialfc.distributed.device import local_device

    log = logging.getLogger(__name__)
    given = {path.stem: path for path in pairs}
    sets = given or {name: Path(path) for name, path in verification_sets(trained).items()}
    for name, path in [*sets.items()]:
        if not given and not (path.is_file() or path.is_dir()):  # nor a pipe that a stranger's run names
            log.warning("the run's pairs %s, %s, are not there: give them with --pairs", name, path)
            del sets[name]
    if not sets:
        return None
    return Measuring(sets=sets, device=local_device(device, name="--device"), **how)


def _values(done: "Exported", kind: str) -> dict[str, Any]:
    import json

    found: dict[str, Any] = {"path": str(done.path), "format": kind, "bytes": done.size}
    if done.opset is not None:
        found["opset"] = done.opset
    found["difference"] = done.difference
    if done.cosine is not None:
        found["int8_cosine"] = done.cosine
    for key, measured in (("float32", done.measured), ("int8", done.int8)):
        if measured is not None:
            found[key] = {name: result.to_dict() for name, result in measured.results.items()}
    return found | {"card": json.loads(done.card.to_json())}


def _lines(done: "Exported", kind: str) -> list[str]:
    from partialfc.files import show_size

    card = done.card
    shape = [card.channels, card.image_size, card.image_size]
    if card.input.layout == "NHWC":
        shape = shape[1:] + shape[:1]
    of_onnx = "" if done.opset is None else f", opset {done.opset}"
    lines = [
        f"{done.path}: {kind}{of_onnx}, {show_size(done.size)}; {card.input.dtype} "
        f"[n, {', '.join(map(str, shape))}] -> {'unit ' if card.unit else ''}embeddings "
        f"[n, {card.embedding_size}]"
    ]
    if done.difference is not None:
        by = "torch.export" if kind == "torch" else "onnxruntime"
        form = "" if done.cosine is None else " in float32"
        lines.append(
            f"run by {by}{form} on random images, it gives what the network gives, to {done.difference:.1e}"
        )
    if done.cosine is not None:
        lines.append(
            "in 8 bits, its rows of images of --calibrate have cosines with the network's of "
            f"{done.cosine:.4f} or more"
        )
    for name, result in (done.measured.results if done.measured else {}).items():
        lines.append(f"{name}: {result.describe()}")
    if done.int8 is not None and done.measured is not None:
        for name, small in done.int8.results.items():
            large = done.measured.results[name]
            lines.append(f"{name}: {small.describe()}")
            lines.append(
                f"{name}: int8 costs {_points(large.accuracy - small.accuracy)} points of accuracy, "
                f"{_points(small.eer - large.eer)} of EER"
            )
    if not (card.licence.weights and card.licence.data):
        lines.append(
            "the card says nothing of a licence: --licence and --data-licence"
            if not (card.licence.weights or card.licence.data)
            else "the card lacks a licence: --licence is of the weights, --data-licence of the images"
        )
    return lines


def _points(share: float) -> str:
    """Hundredths with their sign; what rounds to nothing has a plus."""
    return f"{round(100 * share, 2) + 0.0:+.2f}"
