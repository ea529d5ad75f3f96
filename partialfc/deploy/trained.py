"""A trained network out of a run, a checkpoint, an export, or a file that another program wrote."""

from collections.abc import Collection
from pathlib import Path

from torch import nn

from partialfc.backbones.weights.load import load_weights
from partialfc.checkpoint.start import find_checkpoint
from partialfc.checkpoint.state import read_state
from partialfc.checkpoint.store import load_replicated
from partialfc.deploy.opened.folder import is_export, open_folder
from partialfc.deploy.opened.onnx_backbone import open_onnx
from partialfc.deploy.opened.weights import open_weights
from partialfc.deploy.saved_network import SavedNetwork
from partialfc.deploy.saved_uncertainty import PREFIX, with_uncertainty
from partialfc.deploy.trained_network import Trained
from partialfc.errors import CheckpointError, ConfigError

SUFFIXES = (".pth", ".pt", ".onnx", ".safetensors")  # of files that hold a network

__all__ = ["Trained", "is_weights", "load_trained"]


def load_trained(path: str | Path, *, trust: Collection[str] = (), backbone: str | None = None) -> Trained:
    """The network of a run, of a checkpoint, of an export or of a file of weights, on the CPU.

    path: the folder of a run, whose newest undamaged checkpoint is taken; a checkpoint; a folder,
    .safetensors or .onnx that `partialfc export` wrote; a file of weights such as InsightFace's
    `backbone.pth`; or an .onnx whose input is one image and whose output one embedding [n, D].
    backbone: of which network a file of weights is, where its names and shapes fit several.

    What is read is data: no code that it names is run. A backbone of partialfc's own needs nothing more; for
    one of yours, `"my_networks:SmallNet"`, allow its module by name: `trust=["my_networks"]`.

    Raises CheckpointError if there is none, it is damaged, or it does not fit the backbone it names;
    DataError for an export's damaged card or an .onnx that gives no embeddings;
    ConfigError if this installation has no such backbone, or its module is not in `trust`;
    MissingExtraError for an .onnx without onnxruntime.
    """
    if isinstance(trust, str):
        raise ConfigError(f"trust is {trust!r}; it must be a list of modules' names, such as [{trust!r}]")
    path, trusted = Path(path), frozenset(trust)
    if is_weights(path):
        return open_weights(path, backbone=backbone, trust=trusted)
    if backbone is not None:
        raise ConfigError(f"--backbone is {backbone!r}, and {path} is no file of weights: leave it out")
    if path.is_file():
        return open_onnx(path)
    if is_export(path):
        return open_folder(path, trust=trusted)
    try:
        checkpoint = find_checkpoint(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{_file_in(path)}") from error
    return _of_checkpoint(checkpoint, trusted)


def _file_in(path: Path) -> str:
    """The end of a message that a folder is no run: to name the file in it that may be meant."""
    if not path.is_dir() or (path / "checkpoints").exists():
        return ""
    files = sorted(each.name for each in path.iterdir() if each.suffix in SUFFIXES)
    return f"; it has {files[0]}: name that file" if files else ""


def is_weights(path: Path) -> bool:
    """Whether it is a file that holds weights alone, whose network `backbone` may name."""
    return path.is_file() and path.suffix != ".onnx"


def _of_checkpoint(checkpoint: Path, trust: frozenset[str]) -> Trained:
    state = read_state(checkpoint)
    saved = SavedNetwork.of(checkpoint, state)
    backbone = saved.build(checkpoint, trust=trust)
    _load(backbone, checkpoint, saved)
    uncertainty = load_replicated(checkpoint, PREFIX)
    return Trained(
        checkpoint=checkpoint,
        step=saved.step,
        backbone=backbone.eval(),
        embedding_size=saved.embedding_size,
        image_size=saved.image_size,
        channels=saved.channels,
        num_classes=state["num_classes"],
        probabilistic=with_uncertainty(checkpoint, backbone, saved.embedding_size, uncertainty),
        saved=saved,
    )


def _load(backbone: nn.Module, checkpoint: Path, saved: SavedNetwork) -> None:
    tensors = load_replicated(checkpoint, "backbone/")
    try:
        load_weights(backbone, tensors, name=saved.name, embedding_size=saved.embedding_size)
    except CheckpointError as error:
        changed = ""
        if ":" in saved.name:
            changed = f"\n  if the code of {saved.name} was changed since, load it with the code of then"
        raise CheckpointError(f"{checkpoint}: {error}{changed}") from error
