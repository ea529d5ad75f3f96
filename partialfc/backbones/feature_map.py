"""Backbones that show their last feature map: what comes before the embedding layer, and what follows."""

from typing import Protocol, cast

from torch import Tensor, nn

from partialfc.errors import ConfigError

PARTS = ("map_shape", "feature_map", "embed_map")


class FeatureMapBackbone(Protocol):
    """A backbone in two parts: `forward(images)` is `embed_map(feature_map(images))`.

    map_shape: channels, height and width of the feature map, where its place in the image still counts.
    """

    map_shape: tuple[int, int, int]

    def feature_map(self, images: Tensor) -> Tensor:
        """images [B, channels, image_size, image_size] -> the last feature map [B, *map_shape]."""

    def embed_map(self, features: Tensor) -> Tensor:
        """A feature map [B, *map_shape] -> embeddings [B, D]."""


def with_feature_map(backbone: nn.Module, *, use: str) -> FeatureMapBackbone:
    """The same backbone, of which is known that it has a feature map; all of our own and most of timm have.

    use: what needs the map, for the message. Raises ConfigError for a backbone that does not show it; its
    attribute `why_no_map` may say why.
    """
    if why := getattr(backbone, "why_no_map", None):
        raise ConfigError(f"{use} needs the backbone's last feature map, and it has none: {why}")
    if missing := [name for name in PARTS if not hasattr(backbone, name)]:
        raise ConfigError(
            f"backbone {type(backbone).__name__}: {use} needs its last feature map, and it has no"
            f" {', '.join(missing)}; give it map_shape (channels, height, width), feature_map(images) and"
            " embed_map(features), such that forward(images) is embed_map(feature_map(images))"
        )
    return cast(FeatureMapBackbone, backbone)
