"""Backbones at work: any image size, every parameter trained, bf16 autocast, saved and exported."""

import io
import itertools

import pytest
import torch

from partialfc.backbones import build_backbone
from tests.backbones.cases import ALL, images, small


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(
    ("name", "image_size"),
    [*itertools.product(ALL, [112, 50, 16]), *((name, 1) for name in ALL if name != "vit_tiny")],
)
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
    ("name", "layer"),
    [
        ("iresnet18", "fc"),
        ("mobilefacenet", "conv_sep"),
        ("vargfacenet", "features"),
        ("vit_tiny", "fc"),
        ("convnet", "fc"),
    ],
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
    ("name", "options"),
    [
        ("iresnet18", {}),
        ("mobilefacenet", {"blocks": [1, 1, 2, 1]}),
        ("vargfacenet", {"blocks": [1, 2, 1]}),
        ("vit_tiny", {"depth": 2, "patch_mask": 0.5}),
        ("convnet", {}),
    ],
)
def test_export_keeps_the_embeddings_at_any_batch_size(name: str, options: dict[str, object]) -> None:
    backbone = small(name, **options).eval()
    batch = torch.export.Dim("batch")
    program = torch.export.export(backbone, (images(),), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(program.module()(images(5)), backbone(images(5)))
