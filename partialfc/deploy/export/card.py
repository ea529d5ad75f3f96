"""The card of what is exported, from what the run, the graph and the measurement say."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

import partialfc
from partialfc.deploy.export.graph import Interface
from partialfc.deploy.opened.folder import Mirrored
from partialfc.deploy.saved_config import saved_config, section
from partialfc.deploy.trained_network import Trained
from partialfc.serving.card import Card, Licence, weights_digest


def card_of(trained: Trained) -> Card:
    """What is known of a trained network, which takes floats NCHW, and gives rows that are not of norm 1.

    Of an export it is what that says itself, but for how images go in and rows come out.
    """
    known = trained.card or Card(name="", image_size=1, channels=1, embedding_size=1)
    config = _config(trained)
    weights = {name: _array(tensor) for name, tensor in trained.backbone.state_dict().items()}
    return replace(
        known,
        name=known.name or _name(trained),
        image_size=trained.image_size,
        channels=trained.channels,
        embedding_size=trained.embedding_size,
        version=partialfc.__version__,
        step=trained.step if trained.step or trained.is_checkpoint else None,
        backbone=known.backbone or (trained.saved.name if trained.saved is not None else ""),
        input=Interface().input,
        flip=trained.backbone.flip if isinstance(trained.backbone, Mirrored) else "none",
        unit=False,
        classes=trained.num_classes,
        margin=dict(known.margin) or _margin(config),
        data=known.data or _data(config),
        weights=known.weights or (weights_digest(weights.items()) if weights else ""),
    )


def with_interface(card: Card, interface: Interface) -> Card:
    """The card of a graph that takes and gives what the interface says."""
    width = card.embedding_size * (2 if interface.flip == "concat" else 1)
    return replace(
        card, input=interface.input, flip=interface.flip, unit=interface.unit, embedding_size=width
    )


def with_licence(card: Card, *, weights: str | None, data: str | None) -> Card:
    """None: as the card had it."""
    own = card.licence
    return replace(
        card,
        licence=Licence(
            weights=own.weights if weights is None else weights, data=own.data if data is None else data
        ),
    )


def verification_sets(trained: Trained) -> dict[str, str]:
    """The run's pair files by their names, as its config has them; empty for what is no run."""
    sets = section(section(_config(trained), "verification"), "sets")
    return {name: path for name, path in sets.items() if isinstance(path, str) and name.isprintable()}


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    tensor = tensor.detach().cpu()
    found: npt.NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return found


def _margin(config: Mapping[str, Any]) -> dict[str, Any]:
    """The head's, where the head trained the backbone."""
    objective = section(config, "objective")
    without = objective.get("name") == "pfe" or (
        objective.get("name") == "distill" and objective.get("alone")
    )
    return {} if without else dict(section(section(config, "head"), "margin"))


def _name(trained: Trained) -> str:
    """The run's folder, or the file's name."""
    path = trained.checkpoint.resolve()
    if trained.is_checkpoint:
        return path.parent.parent.name if path.parent.name == "checkpoints" else path.name
    return path.stem if path.is_file() else path.name


def _data(config: Mapping[str, Any]) -> str:
    """The paths of the training images, without the folders above, which are this machine's affair."""
    train = section(config, "data").get("train")
    paths = train if isinstance(train, list) else [train]
    return ", ".join(
        "/".join(path.rstrip("/").split("/")[-2:])
        for path in paths
        if isinstance(path, str) and path.isprintable()
    )


def _config(trained: Trained) -> Mapping[str, Any]:
    return saved_config(trained.checkpoint) if trained.is_checkpoint else {}
