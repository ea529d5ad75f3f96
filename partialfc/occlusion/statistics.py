"""Running statistics that belong to images as they are, while masked ones pass through the same layers."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def untracked(module: nn.Module) -> Iterator[None]:
    """Within it, BatchNorm layers in training mode normalise by the batch as ever, and note nothing of it.

    Masked images have other statistics: a mixture of both would normalise unmasked ones wrongly in
    evaluation. Xie et al. 2020 (arXiv:1911.09665), section 3.2, give adversarial images layers of their own.
    """
    layers = [each for each in module.modules() if isinstance(each, _BatchNorm) and each.track_running_stats]
    noting = [each for each in layers if each.training]
    for each in noting:
        each.track_running_stats = False
    try:
        yield
    finally:
        for each in noting:
            each.track_running_stats = True
