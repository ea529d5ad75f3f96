"""Losses beside the head's, over the global batch: centres, pairs, triplets. Each works alone, too.

`batch_loss.py` is what all of them share: the batch of all ranks, the mean, and the gradient of this rank's
own embeddings; `of_ranks.py` what any loss that ranks compute together has. `weighted.py` is several of them
with their weights.

May import `distributed` and `errors`, and of `head` what any sharded loss needs: how ranks agree on a batch,
shards, the checks of arguments and surroundings; and PartialFC, whose centres a centre loss may take.
"""

from partialfc.losses.batch_loss import BatchLoss
from partialfc.losses.center import CenterLoss
from partialfc.losses.pairs import AngularContrastiveLoss, ContrastiveLoss
from partialfc.losses.triplet import TripletLoss

__all__ = ["AngularContrastiveLoss", "BatchLoss", "CenterLoss", "ContrastiveLoss", "TripletLoss"]
