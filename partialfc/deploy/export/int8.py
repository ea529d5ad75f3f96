"""An .onnx in 8-bit integers: static quantisation, calibrated by images, by onnxruntime."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.sources.labelled import Source
from partialfc.deploy.drawn import drawn, pixels_at
from partialfc.deploy.export.graph import Pixels
from partialfc.deploy.export.packages import needing
from partialfc.errors import ExportError, PartialFCError, in_one_line
from partialfc.files import scratch
from partialfc.serving.runtime import ERRORS, onnxruntime

QUANTISED = ["Conv", "Gemm", "MatMul"]  # what takes the time; all else stays in float32
FEW = 8  # channels: a group of fewer has no fast product in 8 bits, unless it is one, a depthwise one
WARNINGS = 2  # the level of onnxruntime's messages where nobody says
BATCH = 16  # images that go through the network at a time while it is calibrated


def quantised(model: Any, batches: Iterable[np.ndarray]) -> Any:
    """A ModelProto in float32, and images as it takes them -> a ModelProto with 8-bit products.

    Weights are quantised per channel, symmetric, and activations per tensor, by the smallest and the largest
    that the images give. Convolutions in groups of few channels, which are slower in 8 bits, stay in float32.
    Raises ExportError where onnxruntime cannot, MissingExtraError without it, and what the batches raise.
    """
    with needing("int8"):
        import onnx

        quantization = onnxruntime("quantization")
        quant_pre_process = onnxruntime("quantization.shape_inference").quant_pre_process
    constants = {each.name for each in model.graph.initializer}  # which old files name as inputs too
    name = next(each.name for each in model.graph.input if each.name not in constants)
    with scratch() as folder, _quiet():
        plain, prepared, out = (folder / name for name in ("a.onnx", "b.onnx", "c.onnx"))
        plain.write_bytes(model.SerializeToString())
        try:
            quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(out),
                _Batches(batches, name),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=QUANTISED,
                nodes_to_exclude=_slower(onnx.load(str(prepared))),
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
            )
        except OSError:
            raise
        except PartialFCError:
            raise
        except Exception as error:  # of many kinds, whatever the graph is made of
            raise ExportError(f"onnxruntime cannot quantise this network: {in_one_line(error)}") from error
        return onnx.load(str(out))


def _slower(model: Any) -> list[str]:
    """The names of the convolutions that onnxruntime computes more slowly in 8 bits than in float32."""
    shapes = {each.name: each.dims for each in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv"
        and any(each.name == "group" and each.i > 1 for each in node.attribute)
        and 1 < shapes.get(node.input[1], (0, 0))[1] < FEW
    ]


def calibration(
    graph: Pixels, source: Source, *, count: int, seed: int = 0, max_pixels: int = MAX_PIXELS
) -> Iterator[np.ndarray]:
    """`count` images of a source, drawn at random, in batches as the graph takes them, one after the other.

    Raises ImageError, which names an image that cannot be decoded.
    """
    chosen = drawn(source, count=count, seed=seed)

    def pixels(index: int) -> np.ndarray:
        sizes = {"image_size": graph.image_size, "channels": graph.channels}
        return pixels_at(source, index, max_pixels=max_pixels, **sizes)

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(chosen), BATCH):
            images = np.stack(list(pool.map(pixels, chosen[start : start + BATCH])))
            yield graph.as_input(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()


class _Batches:
    """What onnxruntime asks for a batch, until there is none."""

    def __init__(self, batches: Iterable[np.ndarray], name: str) -> None:
        self._left, self._name = iter(batches), name

    def get_next(self) -> dict[str, np.ndarray] | None:
        images = next(self._left, None)
        return None if images is None else {self._name: images}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what onnxruntime logs and prints about its own steps."""
    root, runtime = logging.getLogger(), onnxruntime()
    level = root.level
    root.setLevel(logging.ERROR)
    runtime.set_default_logger_severity(ERRORS)
    try:
        with (
            warnings.catch_warnings(),
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
        runtime.set_default_logger_severity(WARNINGS)
