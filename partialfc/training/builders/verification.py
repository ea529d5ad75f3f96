"""The verification sets."""

from pathlib import Path

import torch

from partialfc.config import Config
from partialfc.data.pairs.files import PairSet, VideoPairs, read_pairs_or_videos, require_images
from partialfc.distributed.device import autocast_dtype
from partialfc.distributed.world import World
from partialfc.errors import ConfigError, ImageError, PairsError
from partialfc.evaluation.sets import VerificationSets
from partialfc.training.requirements import require_pairs_for_folds


def build_verification(config: Config, world: World, device: torch.device) -> VerificationSets:
    """The sets, read whole before training.

    Raises ConfigError where a set has too few pairs for the folds, PairsError where one
    cannot be read, and ImageError for images that do not decode: before training, and not at the
    first verification.
    """
    section = config.verification
    sets = {name: _read(name, path, config) for name, path in section.sets.items()}
    cut = {name: pairs for name, pairs in sets.items() if section.folds or pairs.folds is None}
    require_pairs_for_folds({name: len(each.same) for name, each in cut.items()}, section.folds)
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


def _read(name: str, path: Path, config: Config) -> PairSet | VideoPairs:
    try:
        pairs = read_pairs_or_videos(path)
        require_images(pairs, max_pixels=config.data.max_pixels)
    except PairsError as error:
        raise PairsError(f"verification.sets.{name}: {error}") from error
    except ImageError as error:
        raise ImageError(f"verification.sets.{name}: {path}: {error}") from error
    if isinstance(pairs, VideoPairs) and config.objective.name == "pfe":
        raise ConfigError(
            f"verification.sets.{name}: {path} has pairs of videos, which are compared by the cosine, and "
            "objective pfe verifies by the likelihood: leave the set out, and take partialfc evaluate "
            "--score cosine"
        )
    return pairs
