"""The trained centres of a source's classes."""

import torch
from torch import Tensor

from partialfc.data.sources.labelled import Labelled
from partialfc.deploy.trained_network import CHUNK, Trained
from partialfc.errors import ConfigError


def centres_of(trained: Trained, source: Labelled) -> Tensor:
    """The centres [C, D], or [C, K, D] with K sub-centres, in the order of the source's class ids.

    Classes are found by their names, or by their ids where run or source has none. Raises ConfigError where
    the run lacks a class of the source, CheckpointError where the checkpoint lacks its centres.
    """
    trained.require_checkpoint("centres of classes")
    known, wanted = trained.classes, source.classes
    centres = torch.cat(
        [
            trained.centres(start, min(start + CHUNK, trained.num_classes))
            for start in range(0, trained.num_classes, CHUNK)
        ]
    )
    if known is None or wanted is None:
        if source.num_classes != trained.num_classes:
            raise ConfigError(
                f"{source.origin} has {source.num_classes} classes, and {trained.checkpoint} was trained on "
                f"{trained.num_classes}: compare images with the means of their classes instead"
            )
        return centres
    places = {name: place for place, name in enumerate(known)}
    missing = [name for name in wanted if name not in places]
    if missing:
        raise ConfigError(
            f"class {missing[0]!r} of {source.origin} is none of those that {trained.checkpoint} was trained "
            f"on ({len(missing)} such classes): compare images with the means of their classes instead"
        )
    return centres[[places[name] for name in wanted]]
