"""An .onnx as a trained network: an export of this package, InsightFace's, or another one of this kind."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from partialfc.deploy.trained_network import Trained
from partialfc.serving.onnx_model import OnnxModel


class OnnxBackbone(nn.Module):
    """Floats [B, channels, side, side] in -1..1 -> what the graph gives first, float32 [B, D].

    onnxruntime runs it on the CPU, wherever the images are, and no gradient comes back. They must be those of
    pixels, 0..255, as the graph may take them so. Its one tensor, `sha256` of the file [32], tells it from
    others. threads: of a call, None: as many as torch takes.

    Raises DataError where it is no .onnx, or has other inputs or outputs than one image and embeddings, and
    MissingExtraError without onnxruntime.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        super().__init__()
        self.graph = OnnxModel(path, threads=threads or torch.get_num_threads())
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        self.register_buffer("sha256", torch.tensor([*digest], dtype=torch.uint8))

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.detach().float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
        rows = self.graph.rows(pixels.permute(0, 2, 3, 1).cpu().contiguous().numpy())
        return torch.from_numpy(rows).to(images)


def open_onnx(path: Path) -> Trained:
    """The network of an .onnx, run by onnxruntime on the CPU.

    Raises DataError and MissingExtraError as `OnnxBackbone` does.
    """
    backbone = OnnxBackbone(path)
    card = backbone.graph.card
    return Trained(
        checkpoint=path,
        step=card.step or 0,
        backbone=backbone.eval(),
        embedding_size=card.embedding_size,
        image_size=card.image_size,
        channels=card.channels,
        num_classes=card.classes,
        card=card,
    )
