"""The names that `import partialfc` gives: adding one is a decision, losing one breaks users."""

import subprocess
import sys

import partialfc

NAMES = [
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


def test_the_public_names_are_these():
    assert sorted(partialfc.__all__) == sorted(NAMES)
    assert all(hasattr(partialfc, name) for name in NAMES)


def test_every_error_is_ours_and_a_builtin_one():
    for name in NAMES:
        if name.endswith("Error") and name != "PartialFCError":
            error = getattr(partialfc, name)
            assert issubclass(error, partialfc.PartialFCError)
            assert issubclass(error, ValueError | RuntimeError | ImportError)


def test_importing_starts_nothing_and_pulls_in_no_trainer():
    program = (
        "import sys, partialfc, torch; assert not torch.distributed.is_initialized(); "
        "heavy = {'cv2', 'matplotlib', 'pydantic', 'typer'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
