"""A trained network that is only asked for embeddings, whatever file it comes from."""

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from partialfc.errors import DataError
from partialfc.serving.card import CARD_FILE, Card
from partialfc.serving.onnx_model import OnnxModel
from partialfc.serving.rows import Name, Pixels, Rows, numbered
from partialfc.serving.torch_model import open_by_torch

ONNX, GRAPH = ".onnx", "model.onnx"


class Model(Protocol):
    """Pixels to embeddings.

    card: what is known of the network. image_size: pixels of a side. channels: 3, red, green and blue, or 1,
    grey. embedding_size: D, the numbers of a row, with a mirrored image set behind also those.
    """

    @property
    def card(self) -> Card: ...

    @property
    def image_size(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def embedding_size(self) -> int: ...

    def embed(self, images: Pixels, *, name: Name = numbered) -> Rows:
        """uint8 [n, image_size, image_size, channels] -> rows of norm 1, float32 [n, D]; n may be 0.

        Raises ValueError for another type or shape, and DataError, which names the image by `name`, for an
        embedding that is zero or not finite.
        """
        ...


def open_model(
    path: str | Path, *, threads: int | None = None, device: str = "cpu", trust: Collection[str] = ()
) -> Model:
    """The network of an .onnx file or of an exported folder with one, by onnxruntime; any other by torch.

    An .onnx of partialfc says what it takes. One without a card is taken as InsightFace's: RGB, NCHW,
    (pixel - 127.5) / 127.5 unless its first nodes do that. A run's folder, a checkpoint, or a file of
    weights is opened as `load_trained` does, which imports torch then; it computes in the type that the run
    verified in, as `evaluate` does. threads: of one call, None: one a core. device: "cpu", "auto", or an
    accelerator's name. trust: modules of backbones that may be imported, for torch alone.

    Raises DataError where the file is damaged or no such model, MissingExtraError without onnxruntime or
    torch, ConfigError for a device that is not there, and what `load_trained` raises.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}; it must be 1 or more, or None")
    path = Path(path)
    graph = _graph(path)
    if graph is not None:
        return OnnxModel(graph, threads=threads, device=device)
    return open_by_torch(path, threads=threads, device=device, trust=trust)


def _graph(path: Path) -> Path | None:
    """The .onnx that a path names, or that an exported folder holds; None where there is none."""
    if path.suffix == ONNX and not path.is_dir():
        return path
    if not (path / CARD_FILE).is_file():
        return None
    found = sorted(path.glob(f"*{ONNX}"))
    if path / GRAPH in found:  # beside which the same may lie in 8 bits
        return path / GRAPH
    if len(found) > 1:
        raise DataError(f"{path}: holds several .onnx files, such as {found[0]} and {found[1]}; name one")
    return found[0] if found else None
