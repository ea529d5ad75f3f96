"""An .onnx that is exported again, as it is: with a card that was measured, faster on a CPU, or in 8 bits."""

from typing import Any

import torch
from torch import Tensor

from partialfc.deploy.export.check import Rows
from partialfc.deploy.export.graph import Interface, Pixels
from partialfc.deploy.export.onnx_file import LARGEST, Session, opset_of
from partialfc.deploy.export.packages import needing
from partialfc.deploy.export.prelu import without_prelu
from partialfc.deploy.opened.onnx_backbone import OnnxBackbone
from partialfc.deploy.trained_network import Trained
from partialfc.errors import ConfigError, ExportError, in_one_line

PER_CHANNEL = 13  # the first opset in which weights are quantised per channel


class OnnxGraph(Pixels):
    """The graph of a file, with the interface that its card, or its shapes, tell.

    asked: must be the default, for nothing is built around a graph. Raises ConfigError for another one, and
    where 8 bits are asked for of what is in 8 bits.
    """

    def __init__(self, trained: Trained, asked: Interface, *, in_8_bits: bool = False) -> None:
        assert isinstance(trained.backbone, OnnxBackbone)
        card = trained.backbone.graph.card
        if asked != Interface():
            raise ConfigError(
                f"{trained.checkpoint} is an .onnx, whose graph stays as it is: leave --input, --layout, "
                "--flip, --unit and --opset out"
            )
        if in_8_bits and card.precision == "int8":
            raise ConfigError(f"{trained.checkpoint} is in 8 bits already: leave --int8 out")
        self._least_opset = PER_CHANNEL if in_8_bits else 0
        self.interface = Interface(input=card.input, flip=card.flip, unit=card.unit)
        self.channels, self.image_size = trained.channels, trained.image_size
        self._path = trained.checkpoint
        self._run = Session(self._path)

    @property
    def outputs(self) -> list[str]:
        """The names of what it gives."""
        return self._run.outputs

    @torch.no_grad()
    def rows(self, images: Tensor) -> Rows:
        """What the file gives, in the order of `outputs`."""
        return self._run(images)

    def model(self) -> Any:
        """The file as an `onnx.ModelProto`, without PRelu; for 8 bits, in an opset that has them per channel.

        Raises ExportError where it has more than 2 GB or cannot be converted, MissingExtraError without onnx.
        """
        with needing("an .onnx file"):
            import onnx
            from onnx import version_converter
        model = onnx.load(str(self._path))
        if model.ByteSize() > LARGEST:
            raise ExportError(f"{self._path}: has more than 2 GB, which one .onnx file cannot hold")
        own = opset_of(model)
        if own < self._least_opset:
            try:
                model = version_converter.convert_version(model, self._least_opset)
            except Exception as error:  # of many kinds, whatever the graph is made of
                raise ExportError(
                    f"{self._path}: has opset {own}, 8 bits need {self._least_opset}, and onnx cannot "
                    f"convert it: {in_one_line(error)}"
                ) from error
        without_prelu(model)
        return model
