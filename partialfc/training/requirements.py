"""What a config asks for that the ranks cannot do: told before training begins."""

from torch import nn

from partialfc.config import Config
from partialfc.errors import ConfigError


def require_sample_each(config: Config, ranks: int) -> None:
    """ConfigError where a batch has fewer samples than there are ranks."""
    if config.train.batch_size < ranks:
        raise ConfigError(
            f"train.batch_size is {config.train.batch_size}, but there are {ranks} ranks: "
            "every rank needs at least one sample, so raise it or start fewer processes"
        )


def require_samples_to_normalise(config: Config, backbone: nn.Module, ranks: int) -> None:
    """ConfigError where a rank would normalise the embedding of one sample over the batch."""
    share = config.train.batch_size // ranks
    if share == 1 and any(isinstance(module, nn.BatchNorm1d) for module in backbone.modules()):
        raise ConfigError(
            f"train.batch_size is {config.train.batch_size} on {ranks} ranks, so one sample on some rank, "
            f"but {config.backbone.name} normalises over the batch: at least {2 * ranks} are needed"
        )
