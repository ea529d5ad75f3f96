"""Learning rates that differ between the parts of a network: an optimizer's groups of parameters."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from partialfc.finetune.names import named_parameters, selected

LR_SCALE = "lr_scale"  # of a group: what the schedule's learning rate is multiplied by


def parameter_groups(
    module: nn.Module, factors: Mapping[str, float], *, within: nn.Module | None = None, key: str = "lr_scale"
) -> list[dict[str, Any]]:
    """All parameters as groups for a torch optimizer, one for each factor: `params` and `lr_scale`.

    factors: by pattern (see `names.selected`), what the learning rate of the module's parameters that it
    names is multiplied by; of several patterns that name a parameter the last one counts, and others have 1.
    within: a network that the module lies in, all of whose parameters are meant; None: the module itself. The
    group of factor 1 comes first, and within a group the parameters in the network's order. Whoever sets a
    learning rate multiplies it: group["lr"] = lr * group["lr_scale"].

    Raises ConfigError for a pattern that matches nothing; key: what they were given as, for its message.
    """
    parameters = named_parameters(module)
    factor_of: dict[nn.Parameter, float] = {}
    for pattern, factor in factors.items():
        named = selected(module, pattern, key=key)
        factor_of |= {parameter: factor for name, parameter in parameters.items() if name in named}
    groups: dict[float, list[nn.Parameter]] = {1.0: []}
    for parameter in (within or module).parameters():
        groups.setdefault(factor_of.get(parameter, 1.0), []).append(parameter)
    return [{"params": found, LR_SCALE: factor} for factor, found in groups.items() if found]
