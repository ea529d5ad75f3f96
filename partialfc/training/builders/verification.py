"""The verification sets."""

import torch

from partialfc.config import Config
from partialfc.data.pairs.files import read_pairs
from partialfc.distributed.world import World
from partialfc.evaluation.sets import VerificationSets
from partialfc.training.requirements import require_pair_for_each_fold


def build_verification(
    config: Config, world: World, device: torch.device, amp: torch.dtype | None
) -> VerificationSets:
    """The sets, read whole before training. amp: what the backbone's products run in; None: float32.

    Raises ConfigError where a set has fewer pairs than there are folds.
    """
    section = config.verification
    sets = {name: read_pairs(path) for name, path in section.sets.items()}
    require_pair_for_each_fold({name: len(pairs.same) for name, pairs in sets.items()}, section.folds)
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
        max_pixels=config.data.max_pixels,
        amp=amp,
    )
