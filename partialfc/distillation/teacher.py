"""The teacher of a distillation: a trained network that gives embeddings and never changes."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from partialfc.backbones import build_backbone
from partialfc.backbones.weights.files import is_weight_file, read_weights
from partialfc.backbones.weights.load import load_weights
from partialfc.deploy.trained import load_trained
from partialfc.errors import CheckpointError

ONNX = ".onnx"


class Teacher:
    """A frozen network in evaluation mode. Called with images, it gives their embeddings.

    It is no nn.Module, so that a network that keeps one has none of its parameters: no optimizer moves them,
    and no checkpoint of the student holds them.

    Args:
        network (nn.Module): Floats [B, channels, image_size, image_size] in -1..1 to embeddings [B, D]. It is
            frozen in place.
        embedding_size (int): D.
        image_size (int): The side of the images that it takes.
        channels (int): 3, red, green and blue; or 1, grey.
        source (Path | None): Where its weights come from; None (default): unknown.

    Attributes:
        network (nn.Module): The network.
        digest (str): SHA-256 of its weights and running statistics, in hexadecimal digits: of two teachers
            with the same one, each gives what the other gives.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        embedding_size: int,
        image_size: int,
        channels: int,
        source: Path | None = None,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.embedding_size = embedding_size
        self.image_size = image_size
        self.channels = channels
        self.source = source
        self.digest = digest_of(network)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """images [B, channels, image_size, image_size] in -1..1, on its device -> embeddings [B, D].

        Under autocast it computes as autocast says. Embeddings are not normalised, and have no gradient.
        """
        embeddings: Tensor = self.network(images)
        return embeddings.detach()

    def to(self, device: torch.device) -> "Teacher":
        """Move its network to a device; itself."""
        self.network.to(device)
        return self


def digest_of(network: nn.Module) -> str:
    """SHA-256 of all that a network's state dict holds: names, dtypes, shapes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def knows_its_network(path: Path) -> bool:
    """Whether a teacher's path says of which network it is: a folder or an .onnx, and no file of weights.

    Raises CheckpointError where there is nothing at the path.
    """
    return not is_weight_file(path) or path.suffix == ONNX


def open_teacher(
    path: str | Path, *, network: Mapping[str, Any] | None = None, trust: Collection[str] = ()
) -> Teacher:
    """The teacher of a run, a checkpoint, an export's folder, an .onnx or a file of weights, on the CPU.

    Args:
        path (str | Path): The folder of a run, whose newest undamaged checkpoint is taken; a checkpoint; the
            folder of an export; an .onnx as `load_trained` takes it, such as InsightFace's, which onnxruntime
            runs on the CPU, wherever the student is; or a file of torch.save or safetensors with a network's
            weights. Nothing in it is run besides.
        network (Mapping | None): Which network a file's weights are of, the arguments of `build_backbone`:
            name, embedding_size, image_size, channels and options. None (default) for a run, which knows it.
        trust (Collection[str]): The modules that may be imported for a run's backbone, if it is one of your
            own: `"my_networks:SmallNet"` needs `["my_networks"]`.

    Raises:
        DataError: for an .onnx that is damaged or gives no embeddings.
        MissingExtraError: for an .onnx without onnxruntime.
        CheckpointError: if there is none, it is damaged, or it does not fit the network.
        ConfigError: for a network that there is not, or that is not in trust.
        ValueError: for a file without `network`, or a run or an .onnx with it.
    """
    path = Path(path)
    if network is not None and knows_its_network(path):
        what = "an .onnx" if path.suffix == ONNX else "a run"
        raise ValueError(f"{path} is {what}, which knows its network; network must be None")
    if knows_its_network(path):
        trained = load_trained(path, trust=trust)
        return Teacher(
            trained.backbone,
            embedding_size=trained.embedding_size,
            image_size=trained.image_size,
            channels=trained.channels,
            source=trained.checkpoint.resolve(),
        )
    if network is None:
        raise ValueError(f"{path} is a file of weights; network must say of which network it is")
    built = build_backbone(**network)
    try:
        load_weights(
            built, read_weights(path), name=network["name"], embedding_size=network["embedding_size"]
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    sizes = {key: network[key] for key in ("embedding_size", "image_size", "channels")}
    return Teacher(built, **sizes, source=path.resolve())
