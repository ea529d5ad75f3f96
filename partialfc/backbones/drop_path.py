"""Stochastic depth: whole residual branches that are left out of single samples."""

from torch import Tensor, nn


class DropPath(nn.Module):
    """In training, zeros for a share of the samples, and the others enlarged so that the mean stays.

    [B, ...] -> the same shape. Huang et al. 2016 (arXiv:1603.09382), equation 2, drawn for each sample alone.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0.0:
            return x
        kept = x.new_empty(len(x), *[1] * (x.dim() - 1)).bernoulli_(1 - self.share)
        return x * kept.div_(1 - self.share)

    def extra_repr(self) -> str:
        return f"share={self.share}"
