"""The verification sets, read whole."""

import torch

from partialfc.config import Config
from partialfc.data.pairs.files import read_pairs
from partialfc.distributed.world import World
from partialfc.errors import ConfigError
from partialfc.evaluation.sets import VerificationSets


def build_verification(
    config: Config, world: World, device: torch.device, amp: torch.dtype | None
) -> VerificationSets:
    """Raises ConfigError where a set has fewer pairs than folds: now, not after the first epoch."""
    section = config.verification
    sets = {name: read_pairs(path) for name, path in section.sets.items()}
    for name, pairs in sets.items():
        if len(pairs.same) < section.folds:
            raise ConfigError(
                f"verification.folds is {section.folds}, but the set {name!r} has {len(pairs.same):,} pairs: "
                "every fold needs at least one"
            )
    return VerificationSets(
        sets,
        world,
        config.run.dir / "verification",
        embedding_size=config.backbone.embedding_size,
        image_size=config.data.image_size,
        channels=config.data.channels,
        batch_size=section.batch_size,
        device=device,
        folds=section.folds,
        flip=section.flip,
        amp=amp,
    )
