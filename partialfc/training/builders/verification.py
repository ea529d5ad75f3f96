"""The verification sets."""

from pathlib import Path

import torch

from partialfc.config import Config
from partialfc.data.pairs.files import FOLDS, PairSet, read_pairs, require_images
from partialfc.distributed.device import autocast_dtype
from partialfc.distributed.world import World
from partialfc.errors import ImageError, PairsError
from partialfc.evaluation.sets import VerificationSets
from partialfc.training.requirements import require_pair_for_each_fold


def build_verification(config: Config, world: World, device: torch.device) -> VerificationSets:
    """The sets, read whole before training.

    Raises ConfigError where a set has fewer pairs than there are folds, PairsError where one
    cannot be read, and ImageError for images that do not decode: before training, and not at the
    first verification.
    """
    section = config.verification
    sets = {name: _read(name, path, config.data.max_pixels) for name, path in section.sets.items()}
    require_pair_for_each_fold(
        {name: len(pairs.same) for name, pairs in sets.items()}, section.folds or FOLDS
    )
    return VerificationSets(
        sets,
        world,
        config.run.dir / "verification",
        size=config.backbone.embedding_size,
        image_size=config.data.image_size,
        channels=config.data.channels,
        batch_size=section.batch_size,
        device=device,
        folds=section.folds,
        flip=section.flip,
        max_pixels=config.data.max_pixels,
        amp=autocast_dtype(config.train.amp if section.amp == "train" else section.amp, device),
    )


def _read(name: str, path: Path, max_pixels: int) -> PairSet:
    try:
        pairs = read_pairs(path)
        require_images(pairs, max_pixels=max_pixels)
    except PairsError as error:
        raise PairsError(f"verification.sets.{name}: {error}") from error
    except ImageError as error:
        raise ImageError(f"verification.sets.{name}: {path}: {error}") from error
    return pairs
