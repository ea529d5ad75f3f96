"""The last feature map of a backbone: its shape is known, and its embedding is the backbone's own."""

import pytest
import torch
from torch import nn

from partialfc.backbones.feature_map import with_feature_map
from partialfc.errors import ConfigError
from tests.backbones.cases import ALL, images, small


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "autocast"])
@pytest.mark.parametrize("name", ALL)
def test_the_embedding_of_the_map_is_the_image_s(name: str, autocast: bool) -> None:
    backbone = small(name, image_size=30).eval()
    parts = with_feature_map(backbone, use="this test")
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        features = parts.feature_map(images(image_size=30))
        assert tuple(features.shape[1:]) == parts.map_shape
        torch.testing.assert_close(
            parts.embed_map(features), backbone(images(image_size=30)), rtol=0.0, atol=0.0
        )


def test_a_backbone_without_a_map_is_told_what_to_add() -> None:
    with pytest.raises(
        ConfigError, match=r"backbone Flatten: pfe needs its last feature map.*no map_shape, f"
    ):
        with_feature_map(nn.Flatten(), use="pfe")
