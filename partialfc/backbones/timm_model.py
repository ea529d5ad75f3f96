"""Any model of timm as a backbone, `timm:NAME`, with an embedding layer of its own; the extra `timm`.

https://github.com/huggingface/pytorch-image-models has the models. Nothing is taken from a network.
"""

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from partialfc.backbones.sizes import OptionError, check_images, check_positive
from partialfc.backbones.timm_map import Layout, layout_of
from partialfc.errors import CheckpointError, ConfigError, MissingExtraError, in_one_line

PREFIX = "timm:"
EXTRA = "pip install 'partialfc[timm]'"
# What is not an option: it would load files, or make another network than one from images to features.
REFUSED = {
    **dict.fromkeys(("pretrained", "checkpoint_path"), "name the file in backbone.weights"),
    **dict.fromkeys(("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"), "nothing is downloaded"),
    **dict.fromkeys(("pretrained_model_args", "pruned", "features_only"), "it makes another network"),
    "num_classes": "the backbone ends in an embedding, whose size is backbone.embedding_size",
    "in_chans": "set data.channels",
    "img_size": "set data.image_size",
}


class TimmBackbone(nn.Module):
    """images [B, channels, image_size, image_size] -> embeddings [B, D], not normalised.

    The model's features as `num_classes=0` gives them, pooled as the model does or as the option global_pool
    says, and flattened; then BatchNorm, a linear layer, and BatchNorm, as after InsightFace's networks.
    name: timm's, such as "resnet18". options: further arguments of `timm.create_model`. The channels go to
    the model as in_chans, and the image's size as img_size where the model is built for one.
    Under autocast the embedding layer runs in the dtype of its weights.

    Its feature map is what timm's `forward_features` gives. A model whose features are no map, such as one
    with a class token, has no `map_shape`, and `why_no_map` says why.
    """

    map_shape: tuple[int, int, int]  # only where there is a map
    why_no_map: str

    def __init__(
        self, name: str, *, embedding_size: int, image_size: int = 112, channels: int = 3, **options: Any
    ) -> None:
        super().__init__()
        check_positive(embedding_size=embedding_size, image_size=image_size, channels=channels)
        self.name, self.options = name, options
        self.channels, self.image_size = channels, image_size
        self.model = self._create()
        size, layout = self._probed()
        if isinstance(layout, Layout):
            self.map_shape, self._layout = layout.shape, layout
        else:
            self.why_no_map = layout
        self.norm = nn.BatchNorm1d(size)
        self.fc = nn.Linear(size, embedding_size, bias=False)
        self.features = nn.BatchNorm1d(embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, channels=self.channels, image_size=self.image_size)
        return self._embedded(self.model(images))

    def feature_map(self, images: Tensor) -> Tensor:
        """images [B, channels, image_size, image_size] -> its last features, as a map [B, *map_shape]."""
        check_images(images, channels=self.channels, image_size=self.image_size)
        return self._layout.as_map(self.model.forward_features(images))

    def embed_map(self, features: Tensor) -> Tensor:
        """A feature map [B, *map_shape] -> embeddings [B, D]."""
        return self._embedded(self.model.forward_head(self._layout.as_features(features)))

    def _embedded(self, features: Tensor) -> Tensor:
        x = features.flatten(1)
        with torch.autocast(x.device.type, enabled=False):
            embeddings: Tensor = self.features(self.fc(self.norm(x.to(self.fc.weight.dtype))))
        return embeddings

    def load_pretrained(self, tensors: Mapping[str, Tensor]) -> None:
        """The model's own weights from timm's state dict; the embedding layer stays as it is.

        As timm itself does it: its classifier is left out, older names are understood, the first layer is
        fitted to the channels and position embeddings to the image's size.

        Raises CheckpointError where they do not fit.
        """
        own = dict(tensors)
        for layer in self._classifiers():
            for part in ("weight", "bias"):
                own.pop(f"{layer}.{part}", None)
        given = {"state_dict": own, "num_classes": 0, "classifier": None, "label_offset": 0}
        try:
            loaded = self._create(pretrained=True, pretrained_cfg_overlay=given)
        except (RuntimeError, ValueError, KeyError, AttributeError, AssertionError) as error:
            raise CheckpointError(
                f"its tensors are not those of {PREFIX}{self.name}: {in_one_line(error)}"
            ) from error
        self.model.load_state_dict(loaded.state_dict())

    def _classifiers(self) -> tuple[str, ...]:
        found = self.model.pretrained_cfg.get("classifier") or ()
        return (found,) if isinstance(found, str) else tuple(found)

    def _create(self, **given: Any) -> Any:
        """timm's model, without its classifier. Raises ConfigError for a name or option that it has not."""
        timm = import_timm()
        if not timm.is_model(self.name):
            near = get_close_matches(self.name, timm.list_models(), n=5, cutoff=0.4)
            names = f"near are {', '.join(near)}" if near else "timm.list_models() has their names"
            raise ConfigError(f"timm {timm.__version__} has no model {self.name!r}; {names}")
        for option, why in REFUSED.items():
            if option in self.options:
                raise OptionError(option, self.options[option], f"is no option here: {why}")
        given = {"num_classes": 0, "in_chans": self.channels, **self.options, **given}
        try:
            configured = timm.get_pretrained_cfg(self.name)
            if configured is not None and configured.fixed_input_size:
                given["img_size"] = self.image_size
            return timm.create_model(self.name, **given)
        except Exception as error:
            if "pretrained_cfg_overlay" in given:
                raise
            told = f"{type(error).__name__}: {error}"
            raise ConfigError(
                f"backbone {PREFIX}{self.name} cannot be built for images of {self.image_size}x"
                f"{self.image_size} with {self.channels} channels and backbone.options {self.options}: {told}"
            ) from error

    @torch.no_grad()
    def _probed(self) -> tuple[int, Layout | str]:
        """How many numbers the model gives of an image of this size; its map, or why it has none."""
        training = self.model.training
        images = torch.zeros(1, self.channels, self.image_size, self.image_size)
        try:
            features = self.model.eval()(images)
        except Exception as error:
            raise ConfigError(
                f"backbone {PREFIX}{self.name} takes no images of {self.image_size}x{self.image_size} with "
                f"{self.channels} channels: {error}; set data.image_size, or take another model"
            ) from error
        if not isinstance(features, Tensor):
            raise ConfigError(
                f"backbone {PREFIX}{self.name} gives a {type(features).__name__} and no features"
            )
        layout = layout_of(self.model, self.model.forward_features(images))
        self.model.train(training)
        return features.flatten(1).shape[1], layout


def import_timm() -> Any:
    """The package timm. MissingExtraError where it or torchvision, which it needs, cannot be imported."""
    try:
        return _import()
    except ImportError as error:
        raise MissingExtraError(
            f"backbones timm:NAME need timm and torchvision, which cannot be imported ({error}): {EXTRA}"
        ) from error


def _import() -> Any:
    try:
        import timm
    except RuntimeError as error:
        # torchvision's compiled part was built for another torch, such as PyPI's for CUDA beside a CPU's.
        # timm uses nothing of it, but torchvision makes rules for the shapes of its operators all the same.
        if "torchvision::" not in str(error):
            raise
        sys.modules["torchvision._meta_registrations"] = ModuleType("torchvision._meta_registrations")
        import timm
    return timm
