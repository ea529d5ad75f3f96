"""Distillation: a student's embeddings come to those of a frozen teacher. The losses and the teacher.

May import `backbones`, `deploy`, `distributed` and `errors`, of `losses` what every loss of all ranks has and
the distances, and of `head` what those need.
"""

from partialfc.distillation.losses import AngularDistillation, DistillationLoss, FeatureDistillation

__all__ = ["AngularDistillation", "DistillationLoss", "FeatureDistillation"]
