"""The last feature map of a model of timm: what its `forward_features` gives, as [B, C, H, W]."""

from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal

from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """How a model's features are a map of this shape, channels, height and width."""

    kind: Literal["channels first", "channels last", "tokens"]
    shape: tuple[int, int, int]

    def as_map(self, features: Tensor) -> Tensor:
        """What `forward_features` gives -> [B, C, H, W]."""
        if self.kind == "channels last":
            return features.permute(0, 3, 1, 2)
        if self.kind == "tokens":
            return features.transpose(1, 2).reshape(-1, *self.shape)
        return features

    def as_features(self, features: Tensor) -> Tensor:
        """[B, C, H, W] -> what `forward_head` takes."""
        if self.kind == "channels last":
            return features.permute(0, 2, 3, 1)
        return features.flatten(2).transpose(1, 2) if self.kind == "tokens" else features


def layout_of(model: Any, features: Tensor) -> Layout | str:
    """Of a model that gives these features [1, ...]; or why they are no map, for people."""
    if features.ndim == 4:
        if getattr(model, "output_fmt", "NCHW") == "NHWC":
            height, width, channels = features.shape[1:]
            return Layout("channels last", (channels, height, width))
        channels, height, width = features.shape[1:]
        return Layout("channels first", (channels, height, width))
    if prefix := getattr(model, "num_prefix_tokens", 0):
        return (
            f"it has {prefix} tokens beside the patches', which no place in the image belongs to; options "
            "{class_token: false, global_pool: avg} leave a class token out"
        )
    tokens = features.shape[1] if features.ndim == 3 else 0
    side = isqrt(tokens)
    if not tokens or side**2 != tokens:
        return f"its features have the shape {list(features.shape[1:])}, which is no map"
    return Layout("tokens", (features.shape[2], side, side))
