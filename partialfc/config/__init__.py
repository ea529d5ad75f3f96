"""The strict configuration of a run: its sections, one file a group, and how files and overrides become one.

May import `backbones`, `plan` and `errors`. Only `cli`, `training`, `doctor` and `suggest` import it: the
rest takes plain arguments.
"""

from partialfc.config.backbone import BackboneConfig
from partialfc.config.checkpoint import CheckpointConfig
from partialfc.config.data import AugmentConfig, DataConfig
from partialfc.config.distill import DistillConfig, TeacherConfig
from partialfc.config.example import example_names, example_text
from partialfc.config.finetune import FinetuneConfig, LoraConfig
from partialfc.config.head import HeadConfig, MarginsBySizeConfig
from partialfc.config.load import config_schema, dump_config, load_config, parse_config
from partialfc.config.losses import (
    AngularContrastiveLossConfig,
    CenterLossConfig,
    ContrastiveLossConfig,
    LossConfig,
    TripletLossConfig,
)
from partialfc.config.margin import (
    AdaFaceConfig,
    ArcFaceConfig,
    CombinedConfig,
    CosFaceConfig,
    CurricularFaceConfig,
    ElasticFaceConfig,
    LargeMarginSoftmaxConfig,
    MagFaceConfig,
    MarginConfig,
    ModifiedSoftmaxConfig,
    MVSoftmaxConfig,
    NormalizedSoftmaxConfig,
    SoftmaxConfig,
    SphereFaceConfig,
)
from partialfc.config.metrics import MetricsConfig
from partialfc.config.objective import ClassificationConfig, ObjectiveConfig
from partialfc.config.occlusion import OcclusionConfig
from partialfc.config.optimizer import AdamWConfig, OptimizerConfig, SGDConfig
from partialfc.config.pfe import PFEConfig
from partialfc.config.pool import PoolConfig
from partialfc.config.root import Config
from partialfc.config.run import RunConfig
from partialfc.config.schedule import ScheduleConfig
from partialfc.config.staged import settings, with_settings
from partialfc.config.stages import StageConfig
from partialfc.config.train import TrainConfig
from partialfc.config.verification import VerificationConfig

__all__ = [
    "AdaFaceConfig",
    "AdamWConfig",
    "AngularContrastiveLossConfig",
    "ArcFaceConfig",
    "AugmentConfig",
    "BackboneConfig",
    "CenterLossConfig",
    "CheckpointConfig",
    "ClassificationConfig",
    "CombinedConfig",
    "Config",
    "ContrastiveLossConfig",
    "CosFaceConfig",
    "CurricularFaceConfig",
    "DataConfig",
    "DistillConfig",
    "ElasticFaceConfig",
    "FinetuneConfig",
    "HeadConfig",
    "LargeMarginSoftmaxConfig",
    "LoraConfig",
    "LossConfig",
    "MVSoftmaxConfig",
    "MagFaceConfig",
    "MarginConfig",
    "MarginsBySizeConfig",
    "MetricsConfig",
    "ModifiedSoftmaxConfig",
    "NormalizedSoftmaxConfig",
    "ObjectiveConfig",
    "OcclusionConfig",
    "OptimizerConfig",
    "PFEConfig",
    "PoolConfig",
    "RunConfig",
    "SGDConfig",
    "ScheduleConfig",
    "SoftmaxConfig",
    "SphereFaceConfig",
    "StageConfig",
    "TeacherConfig",
    "TrainConfig",
    "TripletLossConfig",
    "VerificationConfig",
    "config_schema",
    "dump_config",
    "example_names",
    "example_text",
    "load_config",
    "parse_config",
    "settings",
    "with_settings",
]
