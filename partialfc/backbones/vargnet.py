"""The blocks of VarGNet: grouped convolutions with a fixed number of channels a group, for any network.

Variable group convolution, Zhang et al. 2019 (arXiv:1907.05653): all groups have GROUP channels, so their
number varies from layer to layer, where other networks fix it. Every multiplication of a layer is then as
dense as that of the others, which suits small devices. The blocks are those of VarGFaceNet, Yan et al. 2019
(arXiv:1910.04985), figure 1. All widths are multiples of GROUP.
"""

from torch import Tensor, nn

GROUP = 8  # channels a group
REDUCTION = 4  # how many times fewer channels squeeze-and-excite has inside


class SeparableConv(nn.Sequential):
    """A grouped 3x3 convolution to in_channels · factor, then a 1x1 to out_channels.

    [B, in_channels, H, W] -> [B, out_channels, H/stride, W/stride], rounded up. BN follows both, PReLU the
    first, and the second too unless it is `linear`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, factor: int = 2, linear: bool = False
    ) -> None:
        inner = in_channels * factor
        super().__init__(
            grouped_conv(in_channels, inner, kernel=3, stride=stride, padding=1),
            nn.BatchNorm2d(inner),
            nn.PReLU(inner),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        if not linear:
            self.append(nn.PReLU(out_channels))


class SqueezeExcite(nn.Module):
    """Each channel times a factor in 0..1 that follows from the means of all; [B, C, H, W] -> the same shape.

    Hu et al. 2018 (arXiv:1709.01507), equations 2 to 4, with PReLU inside as VarGFaceNet has it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // REDUCTION
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inner, 1),
            nn.PReLU(inner),
            nn.Conv2d(inner, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        factors: Tensor = self.layers(x)
        return x * factors


class NormalBlock(nn.Module):
    """Two separable convolutions and squeeze-and-excite, plus the input, then PReLU.

    [B, in_channels, H, W] -> [B, out_channels, H/stride, W/stride], rounded up. Where that is another shape,
    the shortcut is a separable convolution too, without the last PReLU. Figure 1 a; with stride=2 and
    factor=1 it is the head block, figure 1 c.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, factor: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            SeparableConv(in_channels, out_channels, stride=stride, factor=factor),
            SeparableConv(out_channels, out_channels, factor=factor, linear=True),
            SqueezeExcite(out_channels),
        )
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = SeparableConv(
                in_channels, out_channels, stride=stride, factor=factor, linear=True
            )
        self.prelu = nn.PReLU(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(x)
        out: Tensor = self.prelu(self.layers(x) + shortcut)
        return out


class DownBlock(nn.Module):
    """Two separable convolutions beside each other, added; a third on top; and a third way as the shortcut.

    [B, in_channels, H, W] -> [B, out_channels, H/2, W/2], rounded up. Figure 1 b.
    """

    def __init__(self, in_channels: int, out_channels: int, *, factor: int = 2) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = (
            SeparableConv(in_channels, out_channels, stride=2, factor=factor, linear=True) for _ in range(3)
        )
        self.inner_prelu = nn.PReLU(out_channels)
        self.last = SeparableConv(out_channels, out_channels, factor=factor, linear=True)
        self.prelu = nn.PReLU(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        both: Tensor = self.inner_prelu(self.first(x) + self.second(x))
        out: Tensor = self.prelu(self.last(both) + self.shortcut(x))
        return out


def grouped_conv(
    in_channels: int, out_channels: int, *, kernel: int, stride: int = 1, padding: int = 0
) -> nn.Conv2d:
    """A convolution without bias in groups of GROUP input channels."""
    groups = in_channels // GROUP
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
