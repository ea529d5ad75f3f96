"""partialfc: train classifiers with millions of classes.

The class centres are sharded over the ranks, a step touches only the centres that take part, and the
result is exact: see `PartialFC`.

`import partialfc` imports no torch: a name that needs it does, when it is first used.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from partialfc.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DistributedError,
    ExportError,
    ImageError,
    LabelError,
    MissingExtraError,
    NonFiniteError,
    PairsError,
    PartialFCError,
    RecordError,
    RecordIndexError,
    TrackerError,
)

if TYPE_CHECKING:
    from partialfc.deploy.pretrained import from_pretrained
    from partialfc.distillation import AngularDistillation, DistillationLoss, FeatureDistillation
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

# Where a name that needs torch is found, when it is first asked for.
_HOMES = {
    "AdaFace": "partialfc.head.margins.by_norm",
    "AngularContrastiveLoss": "partialfc.losses",
    "AngularDistillation": "partialfc.distillation",
    "ArcFace": "partialfc.head.margins.combined",
    "BatchLoss": "partialfc.losses",
    "CenterLoss": "partialfc.losses",
    "ClassShard": "partialfc.head.shard",
    "CombinedMargin": "partialfc.head.margins.combined",
    "ContrastiveLoss": "partialfc.losses",
    "CosFace": "partialfc.head.margins.combined",
    "CurricularFace": "partialfc.head.margins.hard_negatives",
    "DistillationLoss": "partialfc.distillation",
    "DynamicClassPool": "partialfc.pool",
    "ElasticFace": "partialfc.head.margins.elastic",
    "FeatureDistillation": "partialfc.distillation",
    "GalleryNetwork": "partialfc.pool",
    "JointOptimizer": "partialfc.head.optim.joint",
    "LargeMarginSoftmax": "partialfc.head.margins.sphereface",
    "MVSoftmax": "partialfc.head.margins.hard_negatives",
    "MagFace": "partialfc.head.margins.by_norm",
    "Margin": "partialfc.head.margins.base",
    "ModifiedSoftmax": "partialfc.head.margins.softmax",
    "NormalizedSoftmax": "partialfc.head.margins.combined",
    "PartialFC": "partialfc.head.partial_fc",
    "RowAdamW": "partialfc.head.optim.adamw",
    "RowSGD": "partialfc.head.optim.sgd",
    "Samples": "partialfc.head.margins.samples",
    "Softmax": "partialfc.head.margins.softmax",
    "SphereFace": "partialfc.head.margins.sphereface",
    "SubCenter": "partialfc.head.margins.sub_center",
    "TripletLoss": "partialfc.losses",
    "from_pretrained": "partialfc.deploy.pretrained",
    "margins_of_class_sizes": "partialfc.head.class_margins",
}

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
    "ExportError",
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
    "TrackerError",
    "TripletLoss",
    "__version__",
    "from_pretrained",
    "margins_of_class_sizes",
]


if not TYPE_CHECKING:  # to a type checker, a name that is not imported above is not there

    def __getattr__(name: str) -> object:
        """A name of `__all__`, or a room of the package, imported now (PEP 562)."""
        if name not in _HOMES and not _is_part(name):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            if name not in _HOMES:
                return import_module(f"{__name__}.{name}")
            found = getattr(import_module(_HOMES[name]), name)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise MissingExtraError(f"{__name__}.{name} needs PyTorch: pip install torch") from error
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _is_part(name: str) -> bool:
    """Whether a module or a room of the package has this name."""
    return name.isidentifier() and not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None
