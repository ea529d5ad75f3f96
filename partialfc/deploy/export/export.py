"""A trained network to a file or a folder, checked, measured and with its card."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

import partialfc
from partialfc.data.sources.labelled import Source
from partialfc.deploy.export.card import card_of, with_interface, with_licence
from partialfc.deploy.export.check import largest_difference, least_cosine
from partialfc.deploy.export.graph import Graph, Interface
from partialfc.deploy.export.int8 import calibration, quantised
from partialfc.deploy.export.measure import Measured, Measuring, measure
from partialfc.deploy.export.onnx_file import OPSET, Session, onnx_of, opset_of, write_onnx
from partialfc.deploy.export.onnx_graph import OnnxGraph
from partialfc.deploy.export.program import Program, write_program
from partialfc.deploy.export.readme import readme
from partialfc.deploy.export.safetensors_file import config_of, write_safetensors
from partialfc.deploy.opened.folder import CONFIG, WEIGHTS, Mirrored, is_export
from partialfc.deploy.opened.onnx_backbone import OnnxBackbone
from partialfc.deploy.trained_network import Trained
from partialfc.errors import ConfigError
from partialfc.files import replacing, require_file, require_folder, scratch
from partialfc.serving.card import CARD_FILE, Card

Format = Literal["onnx", "safetensors", "torch", "huggingface"]
SUFFIXES: Mapping[str, Format] = {".onnx": "onnx", ".safetensors": "safetensors", ".pt2": "torch"}
ONNX, INT8, README = "model.onnx", "model_int8.onnx", "README.md"
FILES = {
    ONNX: "the graph for onnxruntime and others, with this card inside",
    INT8: "the same in 8 bits, with its own figures and thresholds inside",
    WEIGHTS: "the weights, for `partialfc.from_pretrained`",
    CONFIG: "which network they are of",
    CARD_FILE: "this card, for programs",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """For int8: the source, how many of its images are taken, and the seed by which they are drawn."""

    source: Source
    images: int = 512
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is to be exported, and how. None: as the model's card has it.

    Of an .onnx interface and opset are the file's own, and stand here as they are by default.
    """

    format: Format
    interface: Interface = field(default_factory=Interface)
    opset: int = OPSET
    measuring: Measuring | None = None
    int8: Calibration | None = None
    name: str | None = None
    data: str | None = None
    licence: str | None = None
    data_licence: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Exported:
    """card: of the file, or of the folder's network in float32. difference: of its rows from the network's;
    None where nothing is computed by the file. measured: in float32; int8: in 8 bits. opset: of an .onnx.
    cosine: the least between a row in 8 bits and the network's own, of images of the calibration.
    """

    path: Path
    size: int
    card: Card
    difference: float | None = None
    measured: Measured | None = None
    int8: Measured | None = None
    opset: int | None = None
    cosine: float | None = None


def format_of(out: Path, asked: Format | None) -> Format:
    """What was asked for, or what the name says. ConfigError where it says nothing, or something else."""
    said = SUFFIXES.get(out.suffix)
    if asked is not None:
        if said not in (None, asked):
            raise ConfigError(
                f"OUT is {str(out)!r}, a name for the format {said}, and --format is {asked}: leave it "
                "out, or take another name"
            )
        return asked
    if said is not None:
        return said
    if not out.suffix:
        return "huggingface"
    raise ConfigError(
        f"OUT is {str(out)!r}; its suffix must be one of {', '.join(SUFFIXES)}, or none for a folder; or say "
        "--format"
    )


def export_model(trained: Trained, out: Path, request: Request) -> Exported:
    """Write it. Nothing is left where that fails, and what was there before stays.

    Raises ExportError where the network cannot be exported or the file gives something else; ConfigError for
    what does not go together, or a folder that is in the way; MissingExtraError without the extra's packages;
    DataError for pairs or images that cannot be used.
    """
    trained, interface = _bare(trained, request.interface)
    if trained.saved is None and request.format != "onnx":
        config_of(trained)  # says why
    if request.int8 is not None and request.format not in ("onnx", "huggingface"):
        raise ConfigError(f"--int8 is of an .onnx, and the format is {request.format}: leave it out")
    check_out(out, request.format)
    if request.format == "safetensors":  # which holds the network alone
        interface = replace(Interface(), flip="none")
    graph: Graph | OnnxGraph
    if isinstance(trained.backbone, OnnxBackbone):
        graph = OnnxGraph(trained, interface, in_8_bits=request.int8 is not None)
        card = replace(trained.backbone.graph.card, version=partialfc.__version__)
    else:
        graph = Graph(trained, interface)
        card = with_interface(card_of(trained), interface)
    card = with_licence(card, weights=request.licence, data=request.data_licence)
    card = replace(
        card, name=request.name or card.name, data=request.data or card.data, figures=(), thresholds=()
    )
    work = _Work(trained, graph, request)
    write = {
        "onnx": work.onnx,
        "safetensors": work.safetensors,
        "torch": work.program,
        "huggingface": work.folder,
    }[request.format]
    return write(out, card)


class _Work:
    def __init__(self, trained: Trained, graph: Graph | OnnxGraph, request: Request) -> None:
        self._trained, self._graph, self._request = trained, graph, request

    @property
    def _torch_graph(self) -> Graph:
        assert isinstance(self._graph, Graph)
        return self._graph

    def onnx(self, out: Path, card: Card) -> Exported:
        if isinstance(self._graph, OnnxGraph):
            model = self._graph.model()
        else:
            model = onnx_of(self._graph, opset=self._request.opset)
        with scratch() as folder:
            plain = folder / ONNX
            write_onnx(model, plain, card)
            difference = largest_difference(self._graph, Session(plain), what=out)
        measured = self._measured(card)
        card = _with(card, measured)
        small, small_card, in_8_bits, cosine = (
            (model, card, None, None) if self._request.int8 is None else self._int8(model, card)
        )
        written = self._written(
            out, small_card, lambda file: write_onnx(small, file, small_card), difference, measured, in_8_bits
        )
        return replace(written, opset=opset_of(small), cosine=cosine)

    def safetensors(self, out: Path, card: Card) -> Exported:
        measured = self._measured(card)
        card = _with(card, measured)
        return self._written(
            out, card, lambda file: write_safetensors(self._trained, file, card), None, measured
        )

    def program(self, out: Path, card: Card) -> Exported:
        measured = self._measured(card)
        card = _with(card, measured)
        found: list[float] = []

        def write(file: Path) -> None:
            write_program(self._torch_graph, file, card)
            found.append(largest_difference(self._graph, Program(file), what=out))

        written = self._written(out, card, write, None, measured)
        return replace(written, difference=found[0])

    def folder(self, out: Path, card: Card) -> Exported:
        model = onnx_of(self._torch_graph, opset=self._request.opset)
        measured = self._measured(card)
        card = _with(card, measured)
        small, small_card, in_8_bits, cosine = (
            (None, None, None, None) if self._request.int8 is None else self._int8(model, card)
        )
        found: list[float] = []

        def write(folder: Path) -> None:
            folder.mkdir()
            write_onnx(model, folder / ONNX, card)
            found.append(largest_difference(self._graph, Session(folder / ONNX), what=out / ONNX))
            if small_card is not None:
                write_onnx(small, folder / INT8, small_card)
            bare = with_interface(replace(card, embedding_size=self._trained.embedding_size), Interface())
            write_safetensors(self._trained, folder / WEIGHTS, bare)
            (folder / CONFIG).write_text(json.dumps(config_of(self._trained), indent=2) + "\n")
            card.write(folder)
            files = {name: text for name, text in FILES.items() if name != INT8 or small_card is not None}
            (folder / README).write_text(readme(card, files=files, other=small_card), encoding="utf-8")

        written = self._written(out, card, write, None, measured, in_8_bits)
        return replace(written, difference=found[0], opset=opset_of(model), cosine=cosine)

    def _written(
        self,
        out: Path,
        card: Card,
        write: Callable[[Path], None],
        difference: float | None,
        measured: Measured | None,
        int8: Measured | None = None,
    ) -> Exported:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as beside:
            write(beside)
        files = [out] if out.is_file() else [file for file in out.iterdir() if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        return Exported(path=out, size=size, card=card, difference=difference, measured=measured, int8=int8)

    def _int8(self, model: Any, card: Card) -> tuple[Any, Card, Measured | None, float]:
        """The model in 8 bits, its card with its own figures and the float32 ones, these figures, and the
        least cosine of its rows with the network's.
        """
        asked = self._request.int8
        assert asked is not None

        def batches() -> Iterator[np.ndarray]:
            return calibration(self._graph, asked.source, count=asked.images, seed=asked.seed)

        small = quantised(model, batches())
        small_card = replace(card, precision="int8", figures=(), thresholds=())
        with scratch() as folder:
            path = folder / INT8
            write_onnx(small, path, small_card)
            cosine = least_cosine(self._graph, Session(path), batches())
            network = OnnxBackbone(path)
            measured = None
            if self._request.measuring is not None:
                measured = measure(network, small_card, self._request.measuring, dtype="int8")
        if measured is None:
            return small, small_card, None, cosine
        before = tuple(replace(figure, set=f"{figure.set}, float32") for figure in card.figures)
        small_card = replace(small_card, figures=measured.figures + before, thresholds=measured.thresholds)
        return small, small_card, measured, cosine

    def _measured(self, card: Card) -> Measured | None:
        how = self._request.measuring
        if how is None or not how.sets:
            return None
        if isinstance(self._graph, OnnxGraph):
            return measure(self._trained.backbone, card, how, dtype=card.precision)
        floats = Graph(self._trained, replace(self._graph.interface, input=Interface().input))
        return measure(_FirstOutput(floats), card, how)


class _FirstOutput(nn.Module):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, images: Tensor) -> Tensor:
        given = self.graph(images)
        first: Tensor = given[0] if isinstance(given, tuple) else given
        return first


def _bare(trained: Trained, interface: Interface) -> tuple[Trained, Interface]:
    """Of an export that joins the mirrored image, the network without that, and an interface that does it."""
    if not isinstance(trained.backbone, Mirrored):
        return trained, interface
    assert trained.saved is not None
    flip = trained.backbone.flip if interface.flip == "none" else interface.flip
    bare = replace(trained, backbone=trained.backbone.backbone, embedding_size=trained.saved.embedding_size)
    return bare, replace(interface, flip=flip)


def _with(card: Card, measured: Measured | None) -> Card:
    return (
        card if measured is None else replace(card, figures=measured.figures, thresholds=measured.thresholds)
    )


def check_out(out: Path, format: Format) -> None:
    """ConfigError where an export in this format cannot be written, or something else is in the way."""
    if format != "huggingface":
        if out.is_dir():
            raise ConfigError(f"OUT is {str(out)!r}, a folder; for the format {format} it must be a file")
        return require_file("OUT", out)
    if out.is_file() or (out.is_dir() and not is_export(out) and any(out.iterdir())):
        raise ConfigError(
            f"OUT is {str(out)!r}, where something else lies already; name a folder that is not there "
            "yet, or an export, which is replaced"
        )
    return require_folder("OUT", out)
