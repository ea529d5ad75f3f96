"""The last feature map of a backbone: its shape is known, and its embedding is the backbone's own."""

import pytest
import torch
from torch import nn

from partialfc.backbones.feature_map import with_feature_map
from partialfc.errors import ConfigError
from partialfc.occlusion import OcclusionNetwork
from partialfc.uncertainty import ProbabilisticEmbedding
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


TOKENS = {"class_token": False, "global_pool": "avg"}
OF_TIMM = {
    "convolutions": ("test_resnet", {}, (96, 3, 3)),
    "channels_last": ("test_mambaout", {}, (64, 3, 3)),
    "head_with_layers": ("mobilenetv3_small_050", {}, (288, 3, 3)),
    "tokens": ("test_vit", TOKENS, (64, 6, 6)),
}


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "autocast"])
@pytest.mark.parametrize("case", OF_TIMM)
def test_models_of_timm_show_their_map(case: str, autocast: bool) -> None:
    name, options, shape = OF_TIMM[case]
    backbone = small(f"timm:{name}", image_size=96, **options).eval()
    parts = with_feature_map(backbone, use="this test")
    assert parts.map_shape == shape
    batch = images(image_size=96)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        features = parts.feature_map(batch)
        assert tuple(features.shape[1:]) == shape
        torch.testing.assert_close(parts.embed_map(features), backbone(batch), rtol=0.0, atol=0.0)


@pytest.mark.parametrize("case", OF_TIMM)
def test_a_place_of_timm_s_map_is_where_it_is_in_the_image(case: str) -> None:
    """A change in the last patch changes the features there most."""
    name, options, _ = OF_TIMM[case]
    parts = with_feature_map(small(f"timm:{name}", image_size=96, **options).eval(), use="this test")
    batch = images(1, image_size=96)
    changed = batch.clone()
    changed[..., 80:, :16] += 3.0  # below on the left
    difference = (parts.feature_map(changed) - parts.feature_map(batch)).square().sum(1)[0]
    row, column = divmod(int(difference.argmax()), difference.shape[1])
    assert row >= difference.shape[0] - 2
    assert column <= 1


@pytest.mark.parametrize("case", ["convolutions", "tokens"])
def test_models_of_timm_are_occluded_and_say_how_sure_they_are(case: str) -> None:
    name, options, _ = OF_TIMM[case]
    backbone = small(f"timm:{name}", image_size=96, **options)
    found = OcclusionNetwork(backbone, seed=0).train()(images(image_size=96))
    assert found.embeddings.shape[1] == 24
    assert ProbabilisticEmbedding(backbone, 24).eval()(images(image_size=96)).shape == (2, 48)


def test_a_model_of_timm_without_a_map_says_why_and_what_to_set() -> None:
    message = (
        r"^pfe needs the backbone's last feature map, and it has none: it has 1 tokens .*class_token: false"
    )
    with pytest.raises(ConfigError, match=message):
        with_feature_map(small("timm:test_vit"), use="pfe")


def test_a_backbone_without_a_map_is_told_what_to_add() -> None:
    with pytest.raises(
        ConfigError, match=r"backbone Flatten: pfe needs its last feature map.*no map_shape, f"
    ):
        with_feature_map(nn.Flatten(), use="pfe")
