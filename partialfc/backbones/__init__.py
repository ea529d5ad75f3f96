"""The networks that turn images into embeddings, one file a family, and the dict of their names.

May import `errors` alone.
"""

from partialfc.backbones.build import BACKBONES, build_backbone
from partialfc.backbones.checkpointing import checkpointed
from partialfc.backbones.feature_map import FeatureMapBackbone, with_feature_map

__all__ = ["BACKBONES", "FeatureMapBackbone", "build_backbone", "checkpointed", "with_feature_map"]
