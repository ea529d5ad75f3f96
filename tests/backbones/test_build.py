"""Building a backbone: bad requests are named, and one's own gets the same arguments."""

import math
from pathlib import Path

import pytest
import torch

from partialfc.backbones import BACKBONES, build_backbone
from partialfc.config import BackboneConfig
from partialfc.errors import ConfigError
from partialfc.training.builders.backbone import build_backbone_from
from tests.backbones.cases import ALL, images, shapes, small


def test_an_unknown_name_lists_the_known_ones_nearest_first() -> None:
    with pytest.raises(ConfigError) as caught:
        build_backbone("iresnet-50", embedding_size=8)
    message = str(caught.value)
    assert "unknown backbone 'iresnet-50'; known: iresnet50, " in message
    assert all(name in message for name in BACKBONES)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "iresnet50",
            {"drop_out": 0.1},
            r"backbone 'iresnet50' has no option 'drop_out'; its options: dropout",
        ),
        (
            "mobilefacenet",
            {"scales": 2},
            r"'mobilefacenet' has no option 'scales'; its options: scale, blocks",
        ),
        ("convnet", {"blocks": [1]}, r"blocks=\[1\]: must list 2 integers of at least 0"),
        ("convnet", {"widths": []}, r"widths=\[\]: must list one or more integers of at least 1"),
        ("convnet", {"widths": 64}, "widths=64: must list one or more"),
        ("convnet", {"widths": [64, 0]}, r"widths=\[64, 0\]: must list .* of at least 1"),
        ("mobilefacenet", {"blocks": [1, 4, 6]}, r"blocks=\[1, 4, 6\]: must list 4 integers"),
        (
            "mobilefacenet",
            {"blocks": [0, 4, 6, 2]},
            r"blocks=\[0, 4, 6, 2\]: must list 4 integers of at least 1",
        ),
        ("mobilefacenet", {"blocks": 3}, "blocks=3: must list 4 integers"),
        ("mobilefacenet", {"scale": 0.5}, "scale=0.5: must be an integer of at least 1"),
        ("vargfacenet", {"widths": [40, 80, 160]}, "must list 4 integers of at least 8"),
        ("vargfacenet", {"widths": [40, 80, 164, 320]}, "must be multiples of 8, and 164 is none"),
        ("vargfacenet", {"blocks": [3, 0, 4]}, r"blocks=\[3, 0, 4\]: must list 3 integers of at least 1"),
        ("vit_tiny", {"patch_size": 0}, "patch_size=0: must be an integer of at least 1"),
        ("vit_tiny", {"heads": 5}, "^backbone 'vit_tiny': heads=5: must divide width, which is 192"),
        (
            "vit_tiny",
            {"patch_size": 17},
            "patch_size=17: must be at most half of the image's side, which is 32",
        ),
        ("vit_tiny", {"drop_path": 1}, r"drop_path=1: must lie in \[0, 1\)"),
        ("vit_tiny", {"patch_mask": True}, r"patch_mask=True: must lie in \[0, 1\)"),
        ("iresnet18", {"dropout": 1.0}, r"dropout=1.0: must lie in \[0, 1\)"),
        ("iresnet18", {"dropout": -0.1}, r"dropout=-0.1: must lie in \[0, 1\)"),
        ("iresnet18", {"dropout": math.nan}, r"dropout=nan: must lie in \[0, 1\)"),
        ("iresnet18", {"dropout": "0.1"}, r"dropout='0.1': must lie in \[0, 1\)"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(name, **options)


@pytest.mark.parametrize(
    ("name", "option", "value", "rule"),
    [
        ("convnet", "widths", 64, "must list one or more integers"),
        ("iresnet18", "dropout", 1.5, "must lie in"),
        ("mobilefacenet", "scale", 0, "must be an integer of at least 1"),
        ("vargfacenet", "widths", [40, 80, 164, 320], "must be multiples of 8, and 164 is none"),
        ("vit_tiny", "heads", 5, "must divide width, which is 192"),
        ("vit_tiny", "patch_size", 32, "must be at most half of the image's side, which is 32"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_an_option_of_a_config_is_named_with_its_key(
    name: str, option: str, value: object, rule: str
) -> None:
    section = BackboneConfig(name=name, embedding_size=8, options={option: value})
    with pytest.raises(ConfigError) as caught:
        build_backbone_from(section, image_size=32, channels=1, device=torch.device("cpu"))
    assert str(caught.value).startswith(f"backbone {name!r}: backbone.options.{option}={value!r}: {rule}")


def test_an_option_that_there_is_not_is_named_with_its_key() -> None:
    section = BackboneConfig(name="iresnet18", options={"drop_out": 0.1})
    with pytest.raises(ConfigError, match=r"'iresnet18' has no option 'backbone\.options\.drop_out'; its op"):
        build_backbone_from(section, image_size=32, channels=1, device=torch.device("cpu"))


@pytest.mark.parametrize("field", ["embedding_size", "image_size", "channels"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "8", True, None])
@pytest.mark.parametrize("name", ALL)
def test_sizes_must_be_positive_integers(name: str, field: str, value: object) -> None:
    sizes: dict[str, object] = {"embedding_size": 8, "image_size": 32, "channels": 1}
    message = f"^backbone '{name}': {field}={value!r}: must be an integer of at least 1$"
    with pytest.raises(ConfigError, match=message):
        build_backbone(name, **(sizes | {field: value}))  # type: ignore[arg-type]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_backbones.py").write_text(
        """
from torch import nn

class Flat(nn.Module):
    def __init__(self, *, embedding_size, image_size, channels, bias=True):
        super().__init__()
        self.fc = nn.Linear(channels * image_size**2, embedding_size, bias=bias)

    def forward(self, x):
        return self.fc(x.flatten(1))

    @classmethod
    def without_bias(cls, **arguments):
        return cls(bias=False, **arguments)

def needs_depth(depth, **arguments): return Flat(**arguments)
def no_channels(*, embedding_size, image_size): return nn.Identity()
def not_a_module(**arguments): return arguments
def fails(**arguments): raise TypeError("from inside")
number = 3
"""
    )
    (tmp_path / "own_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("own")
def test_own_backbone_gets_the_same_arguments() -> None:
    backbone = small("own_backbones:Flat", bias=False)
    assert shapes(backbone) == {"fc.weight": (24, 32 * 32)}
    assert shapes(small("own_backbones:Flat.without_bias")) == {"fc.weight": (24, 32 * 32)}
    assert backbone(images()).shape == (2, 24)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "options", "message", "cause"),
    [
        ("own_missing:Flat", {}, "cannot import module 'own_missing'.*PYTHONPATH", ModuleNotFoundError),
        ("own_broken:Flat", {}, "cannot import module 'own_broken' .ZeroDivisionError", ZeroDivisionError),
        (":Flat", {}, "cannot import module ''", ValueError),
        ("own_backbones:", {}, "module 'own_backbones' has no ''", AttributeError),
        ("own_backbones:Flatt", {}, "module 'own_backbones' has no 'Flatt'", AttributeError),
        ("own_backbones:number", {}, "'number' of 'own_backbones' has type int", type(None)),
        ("own_backbones:not_a_module", {}, "returned a dict, not an nn.Module", type(None)),
        ("own_backbones:no_channels", {}, "it has no channels", type(None)),
        ("own_backbones:needs_depth", {}, "missing a required argument: 'depth'", TypeError),
        ("own_backbones:Flat", {"bios": 1}, "has no option 'bios'; its options: bias", type(None)),
        ("builtins:int", {}, "not a Python callable with named arguments", ValueError),
    ],
)
def test_an_own_backbone_that_fails_says_where(
    name: str, options: dict[str, object], message: str, cause: type
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        small(name, **options)
    assert f"backbone {name!r}" in str(caught.value)
    assert isinstance(caught.value.__cause__, cause)


@pytest.mark.usefixtures("own")
def test_an_error_inside_an_own_backbone_is_left_alone() -> None:
    with pytest.raises(TypeError, match=r"^from inside$"):
        small("own_backbones:fails")
