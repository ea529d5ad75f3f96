"""The optimizers of the network and of the centres; the loop sets their learning rates at each step."""

from collections.abc import Mapping

import torch
from torch import nn

from partialfc.config import Config, OptimizerConfig
from partialfc.distributed.accelerator import has_operator, is_accelerator
from partialfc.finetune.groups import parameter_groups
from partialfc.head.optim.adamw import RowAdamW
from partialfc.head.optim.base import RowOptimizer
from partialfc.head.optim.fused import begin_momentum
from partialfc.head.optim.sgd import RowSGD
from partialfc.head.partial_fc import PartialFC


def build_network_optimizer(
    section: OptimizerConfig, network: nn.Module, backbone: nn.Module, lr_scale: Mapping[str, float]
) -> torch.optim.Optimizer:
    """torch's own SGD or AdamW; fused on an accelerator that has such kernels: they can skip a step.

    lr_scale: `finetune.lr_scale`, for the parameters of the backbone, which lies in the network. Raises
    ConfigError where a pattern matches none.
    """
    lr, decay = section.lr, section.weight_decay
    parameters = parameter_groups(backbone, lr_scale, within=network, key="finetune.lr_scale")
    fused = _has_fused(section.name, list(network.parameters()))
    if section.name == "adamw":
        return torch.optim.AdamW(
            parameters, lr=lr, betas=section.betas, eps=section.eps, weight_decay=decay, fused=fused
        )
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=section.momentum, weight_decay=decay, fused=fused)
    if fused:
        optimizer.register_step_pre_hook(begin_momentum)
    return optimizer


def _has_fused(name: str, parameters: list[nn.Parameter]) -> bool:
    devices = {parameter.device for parameter in parameters}
    return all(is_accelerator(each) and has_operator(f"aten::_fused_{name}_", each) for each in devices)


def build_head_optimizer(config: Config, head: PartialFC) -> RowOptimizer:
    """RowSGD or RowAdamW; of the section `head` it reads unsampled and momentum_dtype."""
    section = config.optimizer
    lr, decay = section.effective_head_lr, section.effective_head_weight_decay
    if section.name == "adamw":
        return RowAdamW(head, lr=lr, betas=section.betas, eps=section.eps, weight_decay=decay)
    stored = config.head.momentum_dtype
    return RowSGD(
        head,
        lr=lr,
        momentum=section.momentum,
        weight_decay=decay,
        unsampled=config.unsampled,
        momentum_dtype=None if stored is None else getattr(torch, stored),
    )
