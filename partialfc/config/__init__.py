"""The strict configuration of a run: its sections, one file a group, and how files and overrides become one.

May import `plan` and `errors`. Only `cli`, `training` and `doctor` import it: the rest takes plain arguments.
"""

from partialfc.config.load import config_schema, dump_config, load_config, parse_config
from partialfc.config.margin import (
    ArcFaceConfig,
    CombinedConfig,
    CosFaceConfig,
    MarginConfig,
    NormalizedSoftmaxConfig,
)
from partialfc.config.metrics import MetricsConfig
from partialfc.config.sections import (
    AdamWConfig,
    AugmentConfig,
    BackboneConfig,
    CheckpointConfig,
    Config,
    DataConfig,
    HeadConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
    SGDConfig,
    TrainConfig,
    VerificationConfig,
)

__all__ = [
    "AdamWConfig",
    "ArcFaceConfig",
    "AugmentConfig",
    "BackboneConfig",
    "CheckpointConfig",
    "CombinedConfig",
    "Config",
    "CosFaceConfig",
    "DataConfig",
    "HeadConfig",
    "MarginConfig",
    "MetricsConfig",
    "NormalizedSoftmaxConfig",
    "OptimizerConfig",
    "RunConfig",
    "SGDConfig",
    "ScheduleConfig",
    "TrainConfig",
    "VerificationConfig",
    "config_schema",
    "dump_config",
    "load_config",
    "parse_config",
]
