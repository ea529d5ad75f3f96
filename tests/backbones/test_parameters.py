"""The parameters of backbones: InsightFace's names and shapes, and how they start."""

import math

import pytest
import torch

from partialfc.backbones import build_backbone
from tests.backbones.cases import Shapes, shapes, small
from tests.paths import FIXTURES

NAMES = FIXTURES / "state_dicts"


def committed(name: str) -> Shapes:
    lines = (line.split() for line in (NAMES / f"{name}.txt").read_text().splitlines())
    return {name: () if text == "scalar" else tuple(map(int, text.split("x"))) for name, text in lines}


def norm(prefix: str, channels: int) -> Shapes:
    vectors = {f"{prefix}.{name}": (channels,) for name in ("weight", "bias", "running_mean", "running_var")}
    return vectors | {f"{prefix}.num_batches_tracked": ()}


def iresnet_shapes(counts: list[int], embedding_size: int) -> Shapes:
    """The published layout by its rule: stage s has 64 * 2**s channels, its first unit a shortcut."""
    expected: Shapes = {"conv1.weight": (64, 3, 3, 3), "prelu.weight": (64,)} | norm("bn1", 64)
    for stage, count in enumerate(counts):
        wide = 64 * 2**stage
        for unit in range(count):
            first = unit == 0
            into = max(64, wide // 2) if first else wide
            at = f"layer{stage + 1}.{unit}"
            expected |= norm(f"{at}.bn1", into) | norm(f"{at}.bn2", wide) | norm(f"{at}.bn3", wide)
            expected[f"{at}.conv1.weight"] = (wide, into, 3, 3)
            expected[f"{at}.conv2.weight"] = (wide, wide, 3, 3)
            expected[f"{at}.prelu.weight"] = (wide,)
            if first:
                expected[f"{at}.downsample.0.weight"] = (wide, into, 1, 1)
                expected |= norm(f"{at}.downsample.1", wide)
    expected |= norm("bn2", 512) | norm("features", embedding_size)
    return expected | {"fc.weight": (embedding_size, 512 * 7 * 7), "fc.bias": (embedding_size,)}


@pytest.mark.parametrize("name", ["iresnet18", "mobilefacenet"])
def test_names_and_shapes_are_those_of_the_published_weights(name: str) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, embedding_size=512)
    assert shapes(backbone) == committed(name)
    assert list(backbone.state_dict()) == list(committed(name))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("iresnet18", [2, 2, 2, 2]),
        ("iresnet34", [3, 4, 6, 3]),
        ("iresnet50", [3, 4, 14, 3]),
        ("iresnet100", [3, 13, 30, 3]),
        ("iresnet200", [6, 26, 60, 6]),
    ],
)
def test_iresnet_names_and_shapes_follow_the_rule(name: str, counts: list[int]) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, embedding_size=256)
    assert shapes(backbone) == iresnet_shapes(counts, 256)


def test_the_rule_agrees_with_the_committed_list() -> None:
    assert iresnet_shapes([2, 2, 2, 2], 512) == committed("iresnet18")


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("iresnet18", {}, 24_025_600),
        ("iresnet34", {}, 34_139_328),
        ("iresnet50", {}, 43_590_848),
        ("iresnet100", {}, 65_156_160),
        ("iresnet200", {}, 118_833_920),
        ("mobilefacenet", {}, 2_059_520),
        ("vargfacenet", {}, 5_197_780),
        ("vit_tiny", {}, 24_682_048),
        ("mobilefacenet", {"scale": 4, "blocks": [2, 8, 12, 4]}, 6_314_880),
    ],
)
def test_parameter_counts(name: str, options: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, embedding_size=512, options=options)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == parameters


def test_iresnet_keeps_the_scale_of_its_last_norm() -> None:
    backbone = small("iresnet18")
    fixed = [name for name, parameter in backbone.named_parameters() if not parameter.requires_grad]
    assert fixed == ["features.weight"]
    assert torch.equal(backbone.get_parameter("features.weight"), torch.ones(24))


def test_initial_weights_follow_the_published_recipes() -> None:
    iresnet, mobile = small("iresnet18"), small("mobilefacenet")
    assert iresnet.get_parameter("layer4.1.conv1.weight").std().item() == pytest.approx(0.1, rel=0.01)
    pointwise = mobile.get_parameter("conv_sep.layers.0.weight")  # fan out 512
    assert pointwise.std().item() == pytest.approx(math.sqrt(2 / 512), rel=0.01)
