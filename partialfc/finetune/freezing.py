"""Parts of a network that stay as they are: parameters, running statistics, and no dropout."""

from collections.abc import Sequence
from types import MethodType

from torch import nn

from partialfc.finetune.names import named_modules, named_parameters, selected


def freeze(module: nn.Module, patterns: Sequence[str], *, key: str = "freeze") -> None:
    """Freeze what the patterns name (see `names.selected`), before DistributedDataParallel and optimizers.

    Their parameters need no gradient any more. A module that is named, or all of whose parameters are
    frozen, stays in evaluation mode whatever `train` is told: BatchNorm normalises by its running statistics
    and does not move them, and dropout does nothing.

    Raises ConfigError for a pattern that matches nothing; key: what they were given as, for its message.
    """
    frozen = {name for pattern in patterns for name in selected(module, pattern, key=key)}
    for name, parameter in named_parameters(module).items():
        if name in frozen:
            parameter.requires_grad_(False)
    below = [name for name in named_parameters(module) if name not in frozen]
    for name, part in {"": module, **named_modules(module)}.items():
        trains = any(not name or each.startswith(f"{name}.") for each in below)
        if name in frozen or (not trains and any(True for _ in part.parameters())):
            stay_in_evaluation(part)


def stay_in_evaluation(module: nn.Module) -> None:
    """Put the module into evaluation mode, and let no `train` of it, or of one around it, change that."""
    module.eval()
    module.train = MethodType(_train_nothing, module)  # type: ignore[method-assign]


def _train_nothing(module: nn.Module, mode: bool = True) -> nn.Module:
    return module
