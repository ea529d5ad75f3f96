"""The optimizers of the backbone and of the centres."""

import torch
from torch import nn

from partialfc.config import Config
from partialfc.head.optim.adamw import RowAdamW
from partialfc.head.optim.base import RowOptimizer
from partialfc.head.optim.sgd import RowSGD
from partialfc.head.partial_fc import PartialFC


def build_optimizers(
    config: Config, backbone: nn.Module, head: PartialFC
) -> tuple[torch.optim.Optimizer, RowOptimizer]:
    """The backbone's optimizer and the centres'; the loop sets their learning rates."""
    section = config.optimizer
    lr, decay = section.effective_head_lr, section.effective_head_weight_decay
    if section.name == "adamw":
        return (
            torch.optim.AdamW(
                backbone.parameters(),
                lr=section.lr,
                betas=section.betas,
                eps=section.eps,
                weight_decay=section.weight_decay,
            ),
            RowAdamW(head, lr=lr, betas=section.betas, eps=section.eps, weight_decay=decay),
        )
    return (
        torch.optim.SGD(
            backbone.parameters(),
            lr=section.lr,
            momentum=section.momentum,
            weight_decay=section.weight_decay,
        ),
        RowSGD(
            head,
            lr=lr,
            momentum=section.momentum,
            weight_decay=decay,
            unsampled=config.unsampled,
            momentum_dtype=_dtype(config.head.momentum_dtype),
        ),
    )


def _dtype(name: str | None) -> torch.dtype | None:
    return None if name is None else getattr(torch, name)
