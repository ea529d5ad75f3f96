"""A plan of the class pool of a config, with the options of `partialfc plan` in place of what it says."""

from collections.abc import Mapping
from typing import Any

from partialfc.backbones.cost import network_bytes
from partialfc.config.margin import has_bound, keeps_centre_norms, reweights_negatives
from partialfc.config.pool import ONLY_PARTIAL_FC, pool_size
from partialfc.config.root import Config
from partialfc.errors import ConfigError
from partialfc.plan import PoolSetting
from partialfc.plan.options import option

NEITHER = (*ONLY_PARTIAL_FC, "optimizer")  # options that say something about centres


def planned_pool(config: Config, given: Mapping[str, Any], *, gpus: int, device: str) -> PoolSetting:
    """The setting of the config's pool. given: the options that were given, by their names.

    Raises ConfigError for options that a pool has no use for, and for a backbone that cannot be built.
    """
    head, backbone, data = config.head, config.backbone, config.data
    assert head.pool is not None
    if useless := [option(name) for name in given if name in NEITHER]:
        raise ConfigError(
            f"{', '.join(useless)}: only for a head with a centre for each class, and head.name is pool; "
            "leave it out"
        )
    classes = given.get("classes", data.num_classes)
    values = {
        "embedding": backbone.embedding_size,
        "batch": -(-config.train.batch_size // gpus),
        "accumulation": config.train.accumulation,
        "sub_centers": head.sub_centers,
        "weight_dtype": head.weight_dtype,
        "compute_dtype": head.compute_dtype,
        "device": device,
        **given,
    }
    gallery = network_bytes(
        backbone.name,
        embedding_size=values["embedding"],
        image_size=data.image_size,
        channels=data.channels,
        options=backbone.options,
        options_key="backbone.options",
    )
    values |= {
        "size": pool_size(head.pool.size, classes),
        "classes": classes,
        "gpus": gpus,
        "gallery": gallery,
        "shard": head.pool.shard,
        "hard_negatives": head.pool.hard_negatives,
        "compile": head.compile,
        "target_numbers": 1 + keeps_centre_norms(head.margin),
        "has_bound": has_bound(head.margin),
        "reweights_negatives": reweights_negatives(head.margin),
    }
    return PoolSetting(**values)
