"""A folder that `partialfc export` wrote in Hugging Face's layout, or a repository of their Hub with one."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from partialfc.backbones.weights.files import read_weights
from partialfc.deploy.opened.weights import open_tensors, parse_config
from partialfc.deploy.trained_network import Trained
from partialfc.errors import CheckpointError, MissingExtraError, in_one_line
from partialfc.serving.card import CARD_FILE, CardFlip, read_card

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def is_export(path: Path) -> bool:
    """Whether it is such a folder."""
    return (path / CARD_FILE).is_file()


def open_folder(path: Path, *, trust: frozenset[str]) -> Trained:
    """Its network; with what its card says is done with the mirrored image, so that the card's figures and
    thresholds hold for it.

    Raises CheckpointError where a file of it is missing or damaged, DataError for its card, ConfigError as
    `load_trained` does.
    """
    card = read_card(path)
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise CheckpointError(
                f"{path / name} is missing: export the run again, or download all files anew"
            )
    try:
        text = (path / CONFIG).read_text(encoding="utf-8")
        content = read_weights(path / WEIGHTS)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / CONFIG} cannot be read: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path / WEIGHTS}: {error}") from error
    trained = open_tensors(path, content, parse_config(path / CONFIG, text), card, trust=trust)
    if card.flip == "none":
        return trained
    mirrored = Mirrored(trained.backbone, card.flip)
    width = trained.embedding_size * (2 if card.flip == "concat" else 1)
    return replace(trained, backbone=mirrored.eval(), embedding_size=width)


def fetch(name: str) -> Path:
    """The folder of a repository of Hugging Face's Hub, such as "someone/faces"; it is kept by their package.

    Raises MissingExtraError without huggingface_hub, CheckpointError where it cannot be had.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError(
            f"{name} is no folder here, and to get it from Hugging Face's Hub needs huggingface_hub, which "
            f"cannot be imported ({error}): pip install huggingface_hub"
        ) from error
    wanted = [CARD_FILE, CONFIG, WEIGHTS, "*.onnx", "README.md"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # of the package, of what it sends requests with, and of disks
        raise CheckpointError(
            f"{name}: no folder here, and the Hub does not give it: {in_one_line(error)}"
        ) from error


class Mirrored(nn.Module):
    """A backbone whose embeddings of the mirrored image are added (sum), or set behind its own (concat)."""

    def __init__(self, backbone: nn.Module, flip: CardFlip) -> None:
        super().__init__()
        self.backbone, self.flip = backbone, flip

    def forward(self, images: Tensor) -> Tensor:
        own, mirrored = self.backbone(images), self.backbone(images.flip(-1))
        return torch.cat([own, mirrored], 1) if self.flip == "concat" else own + mirrored
