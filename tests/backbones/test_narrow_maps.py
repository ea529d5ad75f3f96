"""Maps narrower than a convolution's stride, on a CPU in bfloat16: where torch leaves gradients unwritten."""

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

from partialfc.backbones import build_backbone
from partialfc.backbones.narrow_maps import widen_narrow_maps
from tests.backbones.cases import ALL, images, small

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
CONVOLVING = [name for name in ALL if name != "vit_tiny"]  # which refuses images of so few patches
formats = pytest.mark.parametrize("memory_format", FORMATS.values(), ids=FORMATS)
CONVOLUTIONS = {
    "plain": (1, {"kernel_size": 3, "stride": 2, "padding": 1}),
    "grouped": (1, {"kernel_size": 3, "stride": 2, "padding": 1, "groups": 8}),
    "depthwise": (1, {"kernel_size": 3, "stride": 2, "padding": 1, "groups": 64}),
    "wide": (2, {"kernel_size": 7, "stride": 4, "padding": 3}),
    "even": (3, {"kernel_size": 4, "stride": 4, "padding": 1}),
    "dilated": (2, {"kernel_size": 3, "stride": 3, "padding": 2, "dilation": 2}),
    "one_way": (1, {"kernel_size": (1, 3), "stride": (1, 2), "padding": (0, 1)}),
}  # by name: the side of the map, and the rest


class Strided(nn.Module):
    """A convolution of a map of one channel for each of the image's, and the sum over the map."""

    def __init__(self, *, embedding_size: int, image_size: int, channels: int, **options: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, embedding_size, **options)

    def forward(self, batch: Tensor) -> Tensor:
        return self.conv(batch).sum((2, 3))


def leave_nan_in_freed_memory() -> None:
    """So that memory which is allocated next, and not written, shows."""
    sizes = [2**power * part for power in range(6, 19) for part in (2, 3)]
    del [torch.full((size,), torch.nan) for size in sizes for _ in range(4)][:]


def gradients(network: nn.Module, batch: Tensor, amp: torch.dtype | None) -> dict[str, Tensor]:
    """The network's, by a weighted sum of its results."""
    leave_nan_in_freed_memory()
    with torch.autocast("cpu", amp, enabled=amp is not None):
        results = network.train()(batch)
    weights = torch.randn(results.shape, generator=torch.Generator().manual_seed(2))
    leave_nan_in_freed_memory()
    (results * weights).sum().backward()
    return {name: each.grad for name, each in network.named_parameters() if each.grad is not None}


@formats
@pytest.mark.parametrize(("side", "options"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_convolution_of_a_narrow_map_has_the_gradient_of_float32(side, options, memory_format):
    torch.manual_seed(0)
    network = build_backbone(
        "tests.backbones.test_narrow_maps:Strided",
        embedding_size=64,
        image_size=side,
        channels=64,
        options=options,
    ).to(memory_format=memory_format)
    batch = images(16, image_size=side, channels=64)
    expected = gradients(copy.deepcopy(network), batch, None)
    found = gradients(network, batch.to(memory_format=memory_format), torch.bfloat16)
    for parameter, gradient in expected.items():
        assert (found[parameter] - gradient).norm() < 0.02 * gradient.norm(), parameter


@formats
@pytest.mark.parametrize("side", [1, 8])
@pytest.mark.parametrize("name", [*CONVOLVING, "timm:test_resnet", "timm:test_efficientnet"])
def test_small_images_give_every_network_finite_gradients(name, side, memory_format):
    network = small(name, image_size=side).to(memory_format=memory_format)
    batch = images(8, image_size=side).to(memory_format=memory_format)
    for parameter, gradient in gradients(network, batch, torch.bfloat16).items():
        assert gradient.isfinite().all(), parameter


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_widening_changes_no_result(stride):
    for kernel, padding, side in itertools.product((1, 2, 3, 4, 5, 7), (0, 1, 2, 3), (1, 2, 3, 4, 5)):
        if side + 2 * padding >= kernel:
            plain = nn.Conv2d(3, 4, kernel, stride, padding).double()
            widened = copy.deepcopy(plain)
            widen_narrow_maps(widened)
            batch = torch.randn(2, 3, side, side, dtype=torch.float64)
            torch.testing.assert_close(widened(batch), plain(batch), rtol=1e-12, atol=1e-12)
