"""Learning rates that differ between the parts of a network: an optimizer's groups of parameters."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from partialfc.finetune.names import named_parameters, selected

LR_SCALE = "lr_scale"  # of a group: what the schedule's learning rate is multiplied by


def parameter_groups(
    module: nn.Module, factors: Mapping[str, float], *, key: str = "lr_scale"
) -> list[dict[str, Any]]:
    """All parameters as groups for a torch optimizer, one for each factor: `params` and `lr_scale`.

    factors: by pattern (see `names.selected`), what the learning rate of the parameters that it names is
    multiplied by; of several patterns that name a parameter the last one counts, and others have 1. The group
    of factor 1 comes first, and within a group the parameters in the network's order. A learning rate of the
    group is to be set by the user: lr · group["lr_scale"].

    Raises ConfigError for a pattern that matches nothing; key: what they were given as, for its message.
    """
    parameters = named_parameters(module)
    factor_of = dict.fromkeys(parameters, 1.0)
    for pattern, factor in factors.items():
        factor_of |= dict.fromkeys(selected(module, pattern, key=key) & parameters.keys(), factor)
    return [
        {"params": [p for name, p in parameters.items() if factor_of[name] == factor], LR_SCALE: factor}
        for factor in dict.fromkeys([1.0, *factor_of.values()])
        if factor in factor_of.values()
    ]
