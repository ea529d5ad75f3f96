"""VarGNet's blocks: always eight channels a group, any stride and width, also in one's own network."""

import pytest
import torch
from torch import nn

from partialfc.backbones.vargnet import GROUP, DownBlock, NormalBlock, SqueezeExcite
from tests.backbones.cases import small


def test_each_grouped_convolution_has_groups_of_eight_channels() -> None:
    convolutions = [each for each in small("vargfacenet").modules() if isinstance(each, nn.Conv2d)]
    grouped = [each for each in convolutions if each.groups > 1]
    assert len(grouped) == 11 * 2 + 3 + 3 * 4 + 1  # normal blocks, head block, those that halve, embedding
    assert {each.in_channels // each.groups for each in grouped} == {GROUP}
    wide = [each for each in grouped if each.out_channels == 2 * each.in_channels]
    assert len(wide) == len(grouped) - 3 - 1  # the head block and the embedding do not double


@pytest.mark.parametrize(
    ("block", "shape"),
    [
        (NormalBlock(16, 16), (2, 16, 7, 7)),
        (NormalBlock(16, 24), (2, 24, 7, 7)),
        (NormalBlock(16, 16, stride=2, factor=1), (2, 16, 4, 4)),
        (DownBlock(16, 32), (2, 32, 4, 4)),
        (SqueezeExcite(16), (2, 16, 7, 7)),
    ],
    ids=["normal", "wider", "head", "down", "squeeze-excite"],
)
def test_a_block_works_in_a_network_of_ones_own(block: nn.Module, shape: tuple[int, ...]) -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 1), block)
    out = network(torch.randn(2, 3, 7, 7))
    assert out.shape == shape
    out.square().mean().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in network.parameters())


def test_only_a_block_of_the_same_shape_has_a_plain_shortcut() -> None:
    x = torch.randn(2, 16, 5, 5)
    for block, plain in ((NormalBlock(16, 16), True), (NormalBlock(16, 24), False)):
        for each in block.layers.modules():  # what the layers add becomes zero
            if isinstance(each, nn.BatchNorm2d):
                nn.init.zeros_(each.weight)
        found = block.eval()(x)
        assert torch.equal(found, block.prelu(x)) is plain if plain else found.shape == (2, 24, 5, 5)
