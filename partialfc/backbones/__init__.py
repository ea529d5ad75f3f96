"""The networks that turn images into embeddings, one file a family, and the dict of their names.

May import `errors` alone.
"""

from partialfc.backbones.build import BACKBONES, build_backbone

__all__ = ["BACKBONES", "build_backbone"]
