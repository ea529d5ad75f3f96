"""Adversarial occlusion: masks that a small generator chooses, and a branch that predicts what is hidden.

May import `backbones`, `distributed` and `errors`, of `losses` what every loss of all ranks has, and of
`head` the checks of arguments and what that needs.
"""

from partialfc.occlusion.loss import SegmentationLoss, intersection_over_union
from partialfc.occlusion.network import Occluded, OcclusionNetwork

__all__ = ["Occluded", "OcclusionNetwork", "SegmentationLoss", "intersection_over_union"]
