"""partialfc: train classifiers with millions of classes.

The class centres are sharded over the ranks, a step touches only the centres that take part, and the
result is exact: see `PartialFC`.
"""

from partialfc.distillation import AngularDistillation, DistillationLoss, FeatureDistillation
from partialfc.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DistributedError,
    ImageError,
    LabelError,
    MissingExtraError,
    NonFiniteError,
    PairsError,
    PartialFCError,
    RecordError,
    RecordIndexError,
)
from partialfc.head.class_margins import margins_of_class_sizes
from partialfc.head.margins.base import Margin
from partialfc.head.margins.by_norm import AdaFace, MagFace
from partialfc.head.margins.combined import ArcFace, CombinedMargin, CosFace, NormalizedSoftmax
from partialfc.head.margins.elastic import ElasticFace
from partialfc.head.margins.hard_negatives import CurricularFace, MVSoftmax
from partialfc.head.margins.samples import Samples
from partialfc.head.margins.softmax import ModifiedSoftmax, Softmax
from partialfc.head.margins.sphereface import LargeMarginSoftmax, SphereFace
from partialfc.head.margins.sub_center import SubCenter
from partialfc.head.optim.adamw import RowAdamW
from partialfc.head.optim.joint import JointOptimizer
from partialfc.head.optim.sgd import RowSGD
from partialfc.head.partial_fc import PartialFC
from partialfc.head.shard import ClassShard
from partialfc.losses import (
    AngularContrastiveLoss,
    BatchLoss,
    CenterLoss,
    ContrastiveLoss,
    TripletLoss,
)
from partialfc.pool import DynamicClassPool, GalleryNetwork

__version__ = "0.1.0"

__all__ = [
    "AdaFace",
    "AngularContrastiveLoss",
    "AngularDistillation",
    "ArcFace",
    "BatchLoss",
    "CenterLoss",
    "CheckpointError",
    "ClassShard",
    "CombinedMargin",
    "ConfigError",
    "ContrastiveLoss",
    "CosFace",
    "CurricularFace",
    "DataError",
    "DistillationLoss",
    "DistributedError",
    "DynamicClassPool",
    "ElasticFace",
    "FeatureDistillation",
    "GalleryNetwork",
    "ImageError",
    "JointOptimizer",
    "LabelError",
    "LargeMarginSoftmax",
    "MVSoftmax",
    "MagFace",
    "Margin",
    "MissingExtraError",
    "ModifiedSoftmax",
    "NonFiniteError",
    "NormalizedSoftmax",
    "PairsError",
    "PartialFC",
    "PartialFCError",
    "RecordError",
    "RecordIndexError",
    "RowAdamW",
    "RowSGD",
    "Samples",
    "Softmax",
    "SphereFace",
    "SubCenter",
    "TripletLoss",
    "__version__",
    "margins_of_class_sizes",
]
