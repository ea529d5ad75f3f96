"""A file of weights as a trained network: InsightFace's backbone.pth, and .safetensors that export wrote."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from partialfc.backbones.weights.files import read_weights
from partialfc.backbones.weights.load import load_weights
from partialfc.backbones.weights.safetensors import read_metadata
from partialfc.deploy.opened.architecture import network_of
from partialfc.deploy.saved_network import SavedNetwork
from partialfc.deploy.saved_uncertainty import with_uncertainty
from partialfc.deploy.trained_network import Trained
from partialfc.errors import CheckpointError
from partialfc.serving.card import CARD_KEY, Card

CONFIG_KEY = "config"  # of what builds the network, beside the card, in the header of a .safetensors
BACKBONE, UNCERTAINTY = "backbone.", "uncertainty."  # before the names, where a file has both


def open_weights(path: Path, *, backbone: str | None, trust: frozenset[str]) -> Trained:
    """The network of a file of torch.save or safetensors. In an export it is named; else its tensors tell it.

    Raises CheckpointError, ConfigError and DataError as `load_trained` does.
    """
    if path.suffix == ".pt2":
        raise CheckpointError(
            f"{path}: it is a program of torch.export, which is run by torch.export.load; take the run, or "
            "an .onnx or .safetensors of it"
        )
    try:
        content = read_weights(path)
        metadata = read_metadata(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if CARD_KEY in metadata and CONFIG_KEY in metadata:
        card = Card.from_json(metadata[CARD_KEY], origin=str(path))
        return open_tensors(path, content, parse_config(path, metadata[CONFIG_KEY]), card, trust=trust)
    try:
        saved = network_of(content, backbone=backbone)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return open_tensors(path, content, saved, None, trust=trust)


def parse_config(origin: Path, text: str) -> SavedNetwork:
    """What builds a network, from the JSON that export writes. Raises CheckpointError where it is damaged."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{origin}: its config is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{origin}: its config is no JSON object")
    return SavedNetwork.of(origin, {"step": document.get("step"), "config": document})


def open_tensors(
    path: Path, content: Any, saved: SavedNetwork, card: Card | None, *, trust: frozenset[str]
) -> Trained:
    """Tensors as the network that `saved` builds, in evaluation mode; with uncertainty where they have it."""
    network = saved.build(path, trust=trust)
    own, rest = _parted(content)
    try:
        load_weights(network, own, name=saved.name, embedding_size=saved.embedding_size)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Trained(
        checkpoint=path,
        step=saved.step,
        backbone=network.eval(),
        embedding_size=saved.embedding_size,
        image_size=saved.image_size,
        channels=saved.channels,
        num_classes=0 if card is None else card.classes,
        probabilistic=with_uncertainty(path, network, saved.embedding_size, rest),
        saved=saved,
        card=card,
    )


def _parted(content: Any) -> tuple[Any, dict[str, Tensor]]:
    """The backbone's tensors, and those of its uncertainty without their prefix."""
    names = list(content) if isinstance(content, Mapping) else []
    if not names or not all(str(name).startswith((BACKBONE, UNCERTAINTY)) for name in names):
        return content, {}
    parts = {
        prefix: {n.removeprefix(prefix): t for n, t in content.items() if n.startswith(prefix)}
        for prefix in (BACKBONE, UNCERTAINTY)
    }
    return parts[BACKBONE], parts[UNCERTAINTY]
