"""What a config needs of its data and its ranks: a ConfigError says so before training begins."""

from collections.abc import Mapping

from torch import nn

from partialfc.data.pairs.files import FOLDS, least_pairs
from partialfc.data.sources.labelled import Labelled
from partialfc.data.sources.labels import out_of_range
from partialfc.errors import ConfigError, LabelError


def require_sample_each(batch_size: int, ranks: int) -> None:
    """Every rank needs a sample of each batch."""
    if batch_size < ranks:
        raise ConfigError(
            f"train.batch_size is {batch_size}, but there are {ranks} ranks: "
            "every rank needs at least one sample, so raise it or start fewer processes"
        )


def require_samples_to_normalise(backbone: nn.Module, name: str, *, batch_size: int, ranks: int) -> None:
    """A backbone that normalises embeddings over the batch, in training mode, needs two samples on a rank."""
    normalising = (module for module in backbone.modules() if isinstance(module, nn.BatchNorm1d))
    if batch_size // ranks == 1 and any(module.training for module in normalising):
        raise ConfigError(
            f"train.batch_size is {batch_size} on {ranks} ranks, so one sample on some rank, "
            f"but {name} normalises over the batch: at least {2 * ranks} are needed"
        )


def require_classes_of_data(asked: int, found: int, data: str) -> None:
    """`data.num_classes` must cover the classes of the data."""
    if asked < found:
        raise ConfigError(
            f"data.num_classes is {asked}, but {data} has {found} classes; "
            "leave it out, or make it at least that"
        )


def require_room_for_labels(num_classes: int, source: Labelled) -> None:
    """The largest label that is known at opening must be below the number of classes."""
    if num_classes < source.least_classes:
        raise LabelError(out_of_range(source.least_classes - 1, source.origin, num_classes))


def require_steps_for_warmup(warmup: int, total: int) -> None:
    """The warm-up must end before the run does."""
    if warmup > total:
        raise ConfigError(
            f"the warm-up has {warmup} steps, but the run only {total}: "
            "shorten schedule.warmup_epochs or warmup_steps, or train longer"
        )


def require_milestones_after_warmup(milestones: tuple[int, ...], warmup: int) -> None:
    """The first milestone comes after the warm-up, and each is a step of its own."""
    if milestones and milestones[0] < warmup:
        raise ConfigError(
            f"the first milestone is step {milestones[0]}, within the {warmup} steps of the warm-up: "
            "shorten schedule.warmup_epochs, warmup_steps or warmup_ratio, or put the milestone later"
        )
    if len({*milestones}) < len(milestones):
        raise ConfigError(
            f"schedule.milestone_epochs come to the steps {[*milestones]}, two of them the same: "
            "leave one out, or put them further apart"
        )


def require_pairs_for_folds(pairs: Mapping[str, int], folds: int | None) -> None:
    """Every verification set, by name its number of pairs, needs some for each fold; None: the usual."""
    for name, count in pairs.items():
        if count < least_pairs(folds):
            raise ConfigError(
                f"verification.folds is {folds or FOLDS}, but the set {name!r} has {count:,} pairs: they "
                f"need at least {least_pairs(folds)}; lower it, or name a larger set"
            )
