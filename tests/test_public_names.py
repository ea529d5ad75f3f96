"""The names that `import partialfc` gives: adding one is a decision, losing one breaks users."""

import ast
import subprocess
import sys

import pytest

import partialfc
from tests.paths import PACKAGE

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


def test_each_name_is_what_a_type_checker_takes_it_for():
    """The imports that only types see, and those that are made when a name is first used, are the same."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    seen = {
        (alias.name, node.module)
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == set(partialfc._HOMES.items())
    assert set(partialfc._HOMES) < set(partialfc.__all__)


def test_dir_names_what_was_not_used_yet():
    program = "import partialfc; assert set(partialfc.__all__) <= set(dir(partialfc))"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_room_is_there_without_an_import_of_its_own():
    program = "import partialfc; partialfc.losses.BatchLoss; partialfc.errors.DataError"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", ["PartialFc", "no_such_room", "_homes", "a.b", ""])
def test_a_name_that_is_not_there_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match="has no attribute"):
        getattr(partialfc, name)
