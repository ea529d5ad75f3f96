"""The setting that a plan is made for: from a config, from the command's options, or from both."""

from typing import Any

from partialfc.config_model import Config
from partialfc.errors import ConfigError
from partialfc.plan import Setting

REQUIRED = {"classes": "--classes 10_000_000", "embedding": "--embedding 512", "batch": "--batch 128"}


def planned_setting(config: Config | None, **given: Any) -> Setting:
    """The config's head under the options that were given (not None), which win.

    Raises ConfigError where neither says what a plan needs.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    values = chosen if config is None else {**_of_config(config, chosen.get("gpus", 1)), **chosen}
    for name, example in REQUIRED.items():
        if values.get(name) is None:
            where = (
                " (the config leaves data.num_classes to the data)" if config and name == "classes" else ""
            )
            raise ConfigError(f"--{name} is missing{where}; give it, such as {example}")
    return Setting(**{"gpus": 1, **values})


def _of_config(config: Config, gpus: int) -> dict[str, Any]:
    """`train.batch_size` is that of all ranks together, and the fullest rank's share is what must fit."""
    optimizer, head = config.optimizer, config.head
    without_momentum = optimizer.name == "sgd" and optimizer.momentum == 0.0
    return {
        "classes": config.data.num_classes,
        "embedding": config.backbone.embedding_size,
        "batch": -(-config.train.batch_size // gpus),
        "accumulation": config.train.accumulation,
        "sample_rate": head.sample_rate,
        "weight_dtype": head.weight_dtype,
        "compute_dtype": head.compute_dtype,
        "optimizer": optimizer.name,
        "unsampled": config.unsampled,
        "momentum_dtype": "none" if without_momentum else head.momentum_dtype,
        "gather_dtype": head.gather_dtype or "float32",
        "compile": head.compile,
    }
