"""Pair verification of a backbone, its images spread over the ranks."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.pairs.files import PairSet
from partialfc.distributed.together import together
from partialfc.distributed.world import World
from partialfc.evaluation.embed import embed
from partialfc.evaluation.verification import Verification, pair_scores, verify


def evaluate_pairs(
    backbone: nn.Module,
    pairs: PairSet,
    world: World,
    *,
    embedding_size: int,
    image_size: int,
    channels: int,
    batch_size: int,
    device: torch.device,
    folds: int = 10,
    flip: bool = False,
    max_pixels: int = MAX_PIXELS,
    amp: torch.dtype | None = None,
    scores_of: Callable[[np.ndarray], np.ndarray] = pair_scores,
) -> tuple[Verification, np.ndarray]:
    """The verification of P pairs and their scores [P], the same on every rank; collective.

    scores_of: what the backbone gives, [2P, embedding_size], to the score of each pair; by default cosines.

    Raises ImageError, on every rank, where one of them has an image that cannot be decoded.
    """
    cuts = np.linspace(0, len(pairs.images), world.size + 1).astype(int)
    mine = range(cuts[world.rank], cuts[world.rank + 1])
    local = torch.zeros(0, embedding_size)
    with together(world):
        if mine:
            local = embed(
                backbone,
                pairs.images,
                part=mine,
                image_size=image_size,
                channels=channels,
                batch_size=batch_size,
                device=device,
                flip=flip,
                max_pixels=max_pixels,
                amp=amp,
            )
    gathered = world.all_gather_rows(local.to(device), np.diff(cuts).tolist())
    scores = scores_of(gathered.cpu().numpy())
    return verify(scores, pairs.same, folds=folds), scores
