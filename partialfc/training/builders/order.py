"""The order of the training data's samples, as `data.sampler` asks for it."""

import logging

import numpy as np

from partialfc.config import DataConfig
from partialfc.data.loading.bad_records import one_too_many
from partialfc.data.loading.half_identities import HalfIdentities
from partialfc.data.loading.identities import Identities
from partialfc.data.loading.sampler import Order
from partialfc.data.sources.labelled import Labelled
from partialfc.errors import PartialFCError

log = logging.getLogger(__name__)


def build_order(section: DataConfig, source: Labelled, *, batch_size: int, seed: int) -> Order | None:
    """None for the loaders' own, shuffled one. With the other two of `data.sampler` all labels are read.

    batch_size: samples of a batch over all ranks. Raises ConfigError where the data has too few identities,
    and a record's own error where more labels than `data.max_bad_records` cannot be read.
    """
    if section.sampler == "shuffle":
        return None
    labels = source.class_ids()
    unread = np.flatnonzero(labels < 0)
    for index in unread[section.max_bad_records :][:1].tolist():
        try:
            source.read(index)
        except PartialFCError as error:
            raise one_too_many(error, section.max_bad_records) from error
    if len(unread):
        log.warning(
            "%s: %d records are damaged, such as %s; they take part in no batch",
            section.shown,
            len(unread),
            source.name(int(unread[0])),
        )
    if section.sampler == "half_identities":
        return HalfIdentities(labels, global_batch=batch_size, seed=seed)
    assert section.images_per_identity is not None
    return Identities(
        labels, global_batch=batch_size, images_per_identity=section.images_per_identity, seed=seed
    )
