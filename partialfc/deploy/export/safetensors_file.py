"""Weights as a .safetensors file, with the card, and what builds the network, in its header."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from partialfc.deploy.export.packages import needing
from partialfc.deploy.opened.weights import BACKBONE, CONFIG_KEY, UNCERTAINTY
from partialfc.deploy.trained_network import Trained
from partialfc.errors import ConfigError
from partialfc.serving.card import CARD_KEY, Card


def tensors_of(trained: Trained) -> dict[str, Tensor]:
    """The network's tensors by name; with uncertainty, those of both parts below a name of each."""
    backbone = trained.backbone.state_dict()
    if trained.probabilistic is None:
        return _own(backbone)
    parts = ((BACKBONE, backbone), (UNCERTAINTY, trained.probabilistic.uncertainty.state_dict()))
    return _own({f"{prefix}{name}": tensor for prefix, part in parts for name, tensor in part.items()})


def config_of(trained: Trained) -> dict[str, Any]:
    """What builds the network, as `SavedNetwork.of` reads it.

    Raises ConfigError for a network that came from an .onnx.
    """
    saved = trained.saved
    if saved is None:
        raise ConfigError(
            f"{trained.checkpoint} is an .onnx, which holds a graph and no network of this package: name an "
            "OUT.onnx, or export the run that it came from"
        )
    return {
        "model_type": "partialfc",
        "step": saved.step,
        "backbone": {
            "name": saved.name,
            "embedding_size": saved.embedding_size,
            "options": dict(saved.options),
            "channels_last": saved.channels_last,
        },
        "data": {"image_size": saved.image_size, "channels": saved.channels},
    }


def write_safetensors(trained: Trained, path: Path, card: Card) -> None:
    """Write it. MissingExtraError without safetensors, ConfigError for a network that came from an .onnx."""
    with needing("a .safetensors file"):
        from safetensors.torch import save
    metadata = {"format": "pt", CARD_KEY: card.to_json(), CONFIG_KEY: json.dumps(config_of(trained))}
    path.write_bytes(save(tensors_of(trained), metadata))


def _own(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each in memory of its own and in its plain order, as the format wants them."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
