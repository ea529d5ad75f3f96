"""A trained network to a file or a folder, checked, measured and with its card."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
from partialfc.deploy.export.out import Format, check_out
from partialfc.deploy.export.program import Program, write_program
from partialfc.deploy.export.readme import readme
from partialfc.deploy.export.safetensors_file import config_of, write_safetensors
from partialfc.deploy.opened.folder import CONFIG, WEIGHTS, Mirrored
from partialfc.deploy.opened.onnx_backbone import OnnxBackbone
from partialfc.deploy.trained_network import Trained
from partialfc.errors import ConfigError
from partialfc.files import replacing, scratch
from partialfc.serving.card import CARD_FILE, Card

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
        card = replace(trained.backbone.graph.card, version=partialfc.__version__)  # as its rows stay
    else:
        graph = Graph(trained, interface)
        card = replace(with_interface(card_of(trained), interface), figures=(), thresholds=())
    card = with_licence(card, weights=request.licence, data=request.data_licence)
    card = replace(card, name=request.name or card.name, data=request.data or card.data)
    work = _Work(trained, graph, request)
    write = {
        "onnx": work.onnx,
        "safetensors": work.safetensors,
        "torch": work.program,
        "huggingface": work.folder,
    }[request.format]
    return write(out, card)


@dataclass(frozen=True, kw_only=True, eq=False)
class _In8Bits:
    """The model in 8 bits; its card, with its own figures before those in float32; and as in `Exported`."""

    model: Any
    card: Card
    measured: Measured | None
    cosine: float


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
        with scratch() as folder:  # before anything is measured
            difference = self._compared(model, folder / ONNX, card, what=out)
        card, measured = self._measured(card)
        small = self._in_8_bits(model, card)
        if small is not None:
            model, card = small.model, small.card

        def write(file: Path) -> float:
            write_onnx(model, file, card)
            return difference

        return _written(out, write, card=card, measured=measured, small=small, opset=opset_of(model))

    def safetensors(self, out: Path, card: Card) -> Exported:
        card, measured = self._measured(card)
        return _written(
            out, lambda file: write_safetensors(self._trained, file, card), card=card, measured=measured
        )

    def program(self, out: Path, card: Card) -> Exported:
        card, measured = self._measured(card)

        def write(file: Path) -> float:
            write_program(self._torch_graph, file, card)
            return largest_difference(self._graph, Program(file), what=out)

        return _written(out, write, card=card, measured=measured)

    def folder(self, out: Path, card: Card) -> Exported:
        model = onnx_of(self._torch_graph, opset=self._request.opset)
        card, measured = self._measured(card)
        small = self._in_8_bits(model, card)

        def write(folder: Path) -> float:
            folder.mkdir()
            difference = self._compared(model, folder / ONNX, card, what=out / ONNX)
            if small is not None:
                write_onnx(small.model, folder / INT8, small.card)
            bare = with_interface(replace(card, embedding_size=self._trained.embedding_size), Interface())
            write_safetensors(self._trained, folder / WEIGHTS, bare)
            (folder / CONFIG).write_text(json.dumps(config_of(self._trained), indent=2) + "\n")
            card.write(folder)
            files = {name: text for name, text in FILES.items() if name != INT8 or small is not None}
            text = readme(card, files=files, other=None if small is None else small.card)
            (folder / README).write_text(text, encoding="utf-8")
            return difference

        return _written(out, write, card=card, measured=measured, small=small, opset=opset_of(model))

    def _compared(self, model: Any, file: Path, card: Card, *, what: Path) -> float:
        """Write an .onnx -> how far its rows are from the network's."""
        write_onnx(model, file, card)
        return largest_difference(self._graph, Session(file), what=what)

    def _in_8_bits(self, model: Any, card: Card) -> _In8Bits | None:
        """Where it was asked for."""
        asked, how = self._request.int8, self._request.measuring
        if asked is None:
            return None

        def batches() -> Iterator[np.ndarray]:
            return calibration(self._graph, asked.source, count=asked.images, seed=asked.seed)

        small = quantised(model, batches())
        small_card = replace(card, precision="int8", figures=(), thresholds=())
        with scratch() as folder:
            path = folder / INT8
            write_onnx(small, path, small_card)
            cosine = least_cosine(self._graph, Session(path), batches())
            measured = None if how is None else measure(OnnxBackbone(path), small_card, how, dtype="int8")
        if measured is not None:
            before = tuple(replace(figure, set=f"{figure.set}, float32") for figure in card.figures)
            small_card = replace(
                small_card, figures=measured.figures + before, thresholds=measured.thresholds
            )
        return _In8Bits(model=small, card=small_card, measured=measured, cosine=cosine)

    def _measured(self, card: Card) -> tuple[Card, Measured | None]:
        """The card with what was measured, and that; where nothing was asked for, the card as it is."""
        how = self._request.measuring
        if how is None or not how.sets:
            return card, None
        if isinstance(self._graph, OnnxGraph):
            found = measure(self._trained.backbone, card, how, dtype=card.precision)
        else:
            floats = Graph(self._trained, replace(self._graph.interface, input=Interface().input))
            found = measure(_FirstOutput(floats), card, how)
        return replace(card, figures=found.figures, thresholds=found.thresholds), found


def _written(
    out: Path,
    write: Callable[[Path], float | None],
    *,
    card: Card,
    measured: Measured | None,
    small: _In8Bits | None = None,
    opset: int | None = None,
) -> Exported:
    """write: makes the file or the folder, and says how far its rows are from the network's, if it knows."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as beside:
        difference = write(beside)
    files = [out] if out.is_file() else [file for file in out.iterdir() if file.is_file()]
    return Exported(
        path=out,
        size=sum(file.stat().st_size for file in files),
        card=card,
        difference=difference,
        measured=measured,
        int8=None if small is None else small.measured,
        opset=opset,
        cosine=None if small is None else small.cosine,
    )


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
