"""Backbones: InsightFace's parameter names, any image size, bf16 autocast, and errors for bad requests."""

import io
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from partialfc.backbones import BACKBONES, build_backbone
from partialfc.errors import ConfigError
from tests.paths import FIXTURES

NAMES = FIXTURES / "state_dicts"
ALL = ["iresnet18", "mobilefacenet", "convnet"]  # one of each family: the others differ in their counts
Shapes = dict[str, tuple[int, ...]]


def shapes(backbone: nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in backbone.state_dict().items()}


def committed(name: str) -> Shapes:
    lines = (line.split() for line in (NAMES / f"{name}.txt").read_text().splitlines())
    return {name: () if text == "scalar" else tuple(map(int, text.split("x"))) for name, text in lines}


def small(name: str, *, image_size: int = 32, channels: int = 1, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return build_backbone(name, embedding_size=24, image_size=image_size, channels=channels, **options)


def images(batch: int = 2, *, image_size: int = 32, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, image_size, image_size, generator=generator)


# Parameter names


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
        ("mobilefacenet", {"scale": 4, "blocks": [2, 8, 12, 4]}, 6_314_880),
    ],
)
def test_parameter_counts(name: str, options: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, embedding_size=512, **options)
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


# Forward and backward


@pytest.mark.parametrize("image_size", [112, 50, 16, 1])
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", ALL)
def test_any_image_size_and_channels(name: str, channels: int, image_size: int) -> None:
    backbone = small(name, image_size=image_size, channels=channels).eval()
    with torch.no_grad():
        embeddings = backbone(images(3, image_size=image_size, channels=channels))
    assert embeddings.shape == (3, 24)
    assert embeddings.isfinite().all()


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ALL)
def test_a_batch_of_two_trains_every_parameter(
    name: str, memory_format: torch.memory_format, autocast: bool
) -> None:
    backbone = small(name).to(memory_format=memory_format).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        embeddings = backbone(images().to(memory_format=memory_format))
    assert embeddings.dtype == torch.float32
    weights = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(2))
    (embeddings * weights).sum().backward()
    for parameter_name, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.isfinite().all(), parameter_name
            assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", ALL)
def test_channels_last_gives_the_same_embeddings(name: str) -> None:
    backbone = small(name).double().eval()
    expected = backbone(images().double())
    backbone.to(memory_format=torch.channels_last)
    actual = backbone(images().double().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "layer"), [("iresnet18", "fc"), ("mobilefacenet", "conv_sep"), ("convnet", "fc")]
)
def test_the_embedding_layer_keeps_float32_under_autocast(name: str, layer: str) -> None:
    backbone = small(name).train()
    seen: list[torch.dtype] = []
    backbone.get_submodule(layer).register_forward_hook(
        lambda _, inputs, output: seen.extend((inputs[0].dtype, output.dtype))
    )
    with torch.autocast("cpu", torch.bfloat16):
        backbone(images())
    assert seen == [torch.float32, torch.float32]


@pytest.mark.parametrize("name", ALL)
def test_a_backbone_cast_to_another_dtype_runs_in_it(name: str) -> None:
    with torch.no_grad():
        embeddings = small(name).bfloat16().eval()(images().bfloat16())
    assert embeddings.dtype == torch.bfloat16


def test_convnet_ignores_brightness_and_contrast() -> None:
    backbone = small("convnet").double().eval()
    expected = backbone(images().double())
    torch.testing.assert_close(backbone(images().double() * 0.3 + 0.2), expected, rtol=1e-3, atol=1e-3)


def test_convnet_embeds_an_image_of_one_colour() -> None:
    backbone = small("convnet").train()
    embeddings = backbone(torch.stack([torch.full((1, 32, 32), 0.7), images()[0]]))
    embeddings.sum().backward()
    assert embeddings.isfinite().all()


def test_dropout_acts_in_training_only() -> None:
    plain, dropping = small("iresnet18"), small("iresnet18", dropout=0.5)
    assert torch.equal(plain.eval()(images()), dropping.eval()(images()))
    assert not torch.equal(plain.train()(images()), dropping.train()(images()))


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 1, 32, 33), (2, 1, 16, 16), (1, 32, 32)])
@pytest.mark.parametrize("name", ALL)
def test_images_of_another_shape_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"built for \[B, 1, 32, 32\]"):
        small(name)(torch.zeros(shape))


# Saving and exporting


@pytest.mark.parametrize("name", ALL)
def test_weights_survive_saving(name: str) -> None:
    trained = small(name).train()
    trained(images())  # moves the running statistics away from their start
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    file.seek(0)
    loaded = build_backbone(name, embedding_size=24, image_size=32, channels=1)
    loaded.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert torch.equal(loaded.eval()(images()), trained.eval()(images()))


@pytest.mark.parametrize(
    ("name", "options"), [("iresnet18", {}), ("mobilefacenet", {"blocks": [1, 1, 2, 1]}), ("convnet", {})]
)
def test_export_keeps_the_embeddings_at_any_batch_size(name: str, options: dict[str, object]) -> None:
    backbone = small(name, **options).eval()
    batch = torch.export.Dim("batch")
    program = torch.export.export(backbone, (images(),), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(program.module()(images(5)), backbone(images(5)))


# Bad requests


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
        ("iresnet18", {"dropout": 1.0}, r"dropout=1.0: must lie in \[0, 1\)"),
        ("iresnet18", {"dropout": -0.1}, r"dropout=-0.1: must lie in \[0, 1\)"),
        ("iresnet18", {"dropout": math.nan}, r"dropout=nan: must lie in \[0, 1\)"),
        ("iresnet18", {"dropout": "0.1"}, r"dropout='0.1': must lie in \[0, 1\)"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(name, **options)


@pytest.mark.parametrize("field", ["embedding_size", "image_size", "channels"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "8", True, None])
@pytest.mark.parametrize("name", ALL)
def test_sizes_must_be_positive_integers(name: str, field: str, value: object) -> None:
    sizes: dict[str, object] = {"embedding_size": 8, "image_size": 32, "channels": 1}
    with pytest.raises(ConfigError, match=f"^{field}={value!r}: must be an integer of at least 1$"):
        build_backbone(name, **(sizes | {field: value}))  # type: ignore[arg-type]


# The user's own


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
