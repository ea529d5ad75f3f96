"""The graph as an .onnx file, by torch's exporter."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partialfc.deploy.export.check import Rows
from partialfc.deploy.export.graph import Graph
from partialfc.deploy.export.packages import needing
from partialfc.deploy.export.prelu import without_prelu
from partialfc.errors import ExportError, in_one_line
from partialfc.serving.card import CARD_KEY, Card
from partialfc.serving.runtime import session

OPSET = 18  # what torch's exporter writes itself; others are converted from it
LARGEST = 2**31 - 1  # bytes of a protobuf, which an .onnx is
INPUT = "images"
QUANTISERS = "onnx.infer"  # the key of a note that onnxruntime's quantiser leaves


def onnx_of(graph: Graph, *, opset: int = OPSET) -> Any:
    """The graph as an `onnx.ModelProto`, with a batch of any size.

    Raises ExportError where torch cannot export the network, or it is too large for one file, and
    MissingExtraError without onnx and onnxscript.
    """
    with needing("an .onnx file"):
        import onnx
        import onnxscript  # noqa: F401 the exporter's
    if sum(each.nbytes for each in graph.state_dict().values()) > LARGEST:
        raise ExportError(
            "the network has more than 2 GB of weights, which one .onnx file cannot hold: write a "
            ".safetensors or, for torch alone, a .pt2"
        )
    with _quiet():
        try:
            program = torch.onnx.export(
                graph,
                (graph.examples(2),),
                dynamo=True,
                input_names=[INPUT],
                output_names=graph.outputs,
                dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
                opset_version=opset,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # of many kinds, whatever the network is made of
            raise ExportError(f"torch's ONNX exporter cannot take this network: {_reason(error)}") from error
    assert program is not None
    model = program.model_proto
    own = opset_of(model)
    if own != opset:
        raise ExportError(f"opset {opset} was asked for, and torch's exporter wrote {own}: take {OPSET}")
    _without_places(model)
    without_prelu(model)
    onnx.checker.check_model(model)
    return model


def opset_of(model: Any) -> int:
    """The version of ONNX's own operators that a ModelProto uses; 0: of none."""
    return next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)


def write_onnx(model: Any, path: Path, card: Card) -> None:
    """Write a ModelProto, with the card in its metadata, beside what else is there."""
    kept = [each for each in model.metadata_props if each.key not in (CARD_KEY, QUANTISERS)]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=CARD_KEY, value=card.to_json())
    model.producer_name, model.producer_version = "partialfc", card.version
    path.write_bytes(model.SerializeToString())


class Session:
    """An .onnx in onnxruntime, on the CPU; threads: None for all cores."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        with needing("running an .onnx file"):
            self._session = session(str(path), threads=threads)
        self._input = self._session.get_inputs()[0].name
        self.outputs: list[str] = [each.name for each in self._session.get_outputs()]

    def __call__(self, images: Tensor | np.ndarray) -> Rows:
        """Images as the graph takes them -> what it gives."""
        found: Rows = self._session.run(None, {self._input: np.asarray(images)})
        return found


def _without_places(model: Any) -> None:
    """Take out what the exporter notes of the program that made each node: names of files of this machine."""
    model.doc_string = model.graph.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    for part in (*model.graph.node, *values, *model.graph.initializer, *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""


def _reason(error: Exception) -> str:
    """The innermost error's first line, which is the network's."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return f"{type(error).__name__}: {in_one_line(error)}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch and onnxscript tell about themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
