import numpy as np
import pytest
import torch
from torch import nn

from partialfc.data.images.codec import decode, encode_jpeg, encode_png, resize
from partialfc.data.images.normalise import normalise
from partialfc.errors import ImageError
from partialfc.evaluation.embed import Flip, embed

CPU = torch.device("cpu")


class Tiny(nn.Module):
    """Convolution, batch norm, dropout and a `view`, which needs contiguous input."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(4 * 64, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.dropout(self.norm(self.convolution(images)))
        return self.linear(maps.view(len(images), -1))


@pytest.fixture
def backbone() -> Tiny:
    torch.manual_seed(0)
    model = Tiny()
    model.norm.running_mean.uniform_(-1, 1)
    return model


def _pixels(count: int, size: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, channels), np.uint8)


def _expected(backbone: nn.Module, pixels: np.ndarray) -> torch.Tensor:
    """One image at a time, from the definition."""
    was = backbone.training
    backbone.eval()
    inputs = torch.tensor(pixels.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    with torch.no_grad():
        rows = torch.cat([backbone(image[None].contiguous()) for image in inputs])
    backbone.train(was)
    return rows


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_embeds_in_order_whatever_the_batches(backbone: Tiny, batch_size: int) -> None:
    pixels = _pixels(7)
    images = [encode_png(p) for p in pixels]
    found = embed(backbone, images, image_size=8, channels=3, batch_size=batch_size, device=CPU)
    assert found.shape == (7, 5)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, _expected(backbone, pixels), rtol=1e-5, atol=1e-5)


def test_decodes_and_resizes_as_training_does(backbone: Tiny) -> None:
    images = [encode_jpeg(_pixels(1, 16)[0]), encode_png(_pixels(1, 8)[0])]
    pixels = np.stack([resize(decode(image), 8) for image in images])
    found = embed(backbone, images, image_size=8, channels=3, device=CPU)
    torch.testing.assert_close(found, _expected(backbone, pixels), rtol=1e-5, atol=1e-5)


def test_grey_images() -> None:
    backbone = Tiny(channels=1)
    pixels = _pixels(2, channels=1)
    found = embed(backbone, [encode_png(p) for p in pixels], image_size=8, channels=1, device=CPU)
    torch.testing.assert_close(found, _expected(backbone, pixels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("flip", ["sum", "concat"])
def test_flip_joins_the_mirrored_images_embedding(backbone: Tiny, flip: Flip) -> None:
    pixels = _pixels(3)
    found = embed(backbone, [encode_png(p) for p in pixels], image_size=8, channels=3, device=CPU, flip=flip)
    own, mirrored = (_expected(backbone, np.ascontiguousarray(each)) for each in (pixels, pixels[:, :, ::-1]))
    expected = own + mirrored if flip == "sum" else torch.cat([own, mirrored], 1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("flip", [True, False, "both"])
def test_another_flip_is_refused(backbone: Tiny, flip: object) -> None:
    with pytest.raises(ValueError, match=f"flip is {flip!r}: it must be one of none, sum, concat"):
        embed(backbone, [encode_png(_pixels(1)[0])], image_size=8, channels=3, device=CPU, flip=flip)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_backbone_of_another_type_gets_images_of_that(backbone: Tiny, dtype: torch.dtype) -> None:
    images = [encode_png(p) for p in _pixels(4)]
    options = {"image_size": 8, "channels": 3, "device": CPU}
    exact = embed(backbone, images, **options)
    found = embed(backbone.to(dtype), images, **options)
    assert found.dtype == torch.float32
    near = 0.05 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(found, exact, rtol=near, atol=near)


@pytest.mark.parametrize("flip", ["none", "sum", "concat"])
def test_amp_computes_in_bfloat16_and_returns_float32(backbone: Tiny, flip: Flip) -> None:
    images = [encode_png(p) for p in _pixels(4)]
    options = {"image_size": 8, "channels": 3, "device": CPU, "flip": flip}
    exact = embed(backbone, images, **options)
    found = embed(backbone, images, amp=torch.bfloat16, **options)
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.05)


def test_the_backbone_is_left_as_it_was(backbone: Tiny) -> None:
    backbone.train()
    backbone.norm.eval()  # frozen on purpose
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    embed(backbone, [encode_png(p) for p in _pixels(2)], image_size=8, channels=3, device=CPU)
    assert backbone.training
    assert backbone.dropout.training
    assert not backbone.norm.training
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_embeddings_can_be_trained_on(backbone: Tiny) -> None:
    found = embed(backbone, [encode_png(p) for p in _pixels(2)], image_size=8, channels=3, device=CPU)
    probe = nn.Linear(5, 1)
    probe(found).sum().backward()  # a tensor of inference mode would refuse
    assert probe.weight.grad is not None


@pytest.mark.parametrize("bad", [0, 4, 6])
def test_damaged_images_are_named(backbone: Tiny, bad: int) -> None:
    images = [encode_jpeg(p) for p in _pixels(7)]
    images[bad] = images[bad][: len(images[bad]) // 2]
    backbone.train()
    with pytest.raises(ImageError, match=f"image {bad} of 7: "):
        embed(backbone, images, image_size=8, channels=3, batch_size=3, device=CPU)
    assert backbone.training
    assert backbone.dropout.training


@pytest.mark.parametrize(
    ("images", "options", "match"),
    [
        ([], {}, "no images"),
        ([b"x"], {"batch_size": 0}, "batch_size is 0"),
        ([encode_png(np.zeros((8, 8, 3), np.uint8))], {"channels": 4}, "channels 4"),
    ],
)
def test_bad_arguments(backbone: Tiny, images: list[bytes], options: dict[str, int], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        embed(backbone, images, **{"image_size": 8, "channels": 3, "device": CPU, **options})


# normalise


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalise_maps_bytes_to_minus_one_to_one(memory_format: torch.memory_format) -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(2, 2, 8, 8).to(memory_format=memory_format)
    kept = images.clone()
    found = normalise(images)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=memory_format)
    assert torch.equal(images, kept)
    assert (found.min().item(), found.max().item()) == (-1.0, 1.0)
    torch.testing.assert_close(found.double(), images.double() / 127.5 - 1, rtol=0, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_puts_images_into_a_memory_format(channels: int) -> None:
    """Its strides too, which contiguous() leaves as they are where there is one channel."""
    images = torch.zeros(2, channels, 8, 8, dtype=torch.uint8)
    found = normalise(images, memory_format=torch.channels_last)
    assert found.stride() == (64 * channels, 1, 8 * channels, channels)
    assert normalise(found.to(torch.uint8), memory_format=torch.contiguous_format).stride() == images.stride()


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_normalise_refuses_what_is_not_bytes(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=r"torch\.uint8"):
        normalise(torch.zeros(1, 3, 2, 2, dtype=dtype))
