"""The embeddings of training images as they are, without augmentation."""

import logging
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from partialfc.config import DataConfig
from partialfc.data.images.codec import problem
from partialfc.data.loading.bad_records import one_too_many
from partialfc.data.sources.labelled import Labelled
from partialfc.errors import DataError, ImageError, RecordError
from partialfc.evaluation.embed import embed
from partialfc.finetune.class_means import Integers

log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class SourceEmbeddings:
    """Called with indices of images [n], it gives embeddings [m, D], not normalised, and the indices [m].

    Up to `data.max_bad_records` images that cannot be decoded are left out, each with a warning; one more is
    the error that it would be in training.
    """

    section: DataConfig
    source: Labelled
    backbone: nn.Module
    embedding_size: int
    batch_size: int
    device: torch.device
    amp: torch.dtype | None
    bad: int = field(default=0, init=False)  # images that were left out

    def __call__(self, indices: Integers) -> tuple[Tensor, Integers]:
        encoded: dict[int, bytes] = {}
        for index in indices.tolist():
            try:
                encoded[index] = self.source.read(index)[0]
            except RecordError as error:
                self._leave_out(error)
        try:
            embedded = self._embed(list(encoded.values()))
        except ImageError:
            for index, data in [*encoded.items()]:
                if found := problem(data, max_pixels=self.section.max_pixels):
                    self._leave_out(ImageError(f"{self.source.name(index)}: {found}"))
                    del encoded[index]
            embedded = self._embed(list(encoded.values()))
        return embedded, np.array(list(encoded), np.int64)

    def _embed(self, images: list[bytes]) -> Tensor:
        if not images:
            return torch.zeros(0, self.embedding_size)
        return embed(
            self.backbone,
            images,
            image_size=self.section.image_size,
            channels=self.section.channels,
            batch_size=self.batch_size,
            device=self.device,
            max_pixels=self.section.max_pixels,
            amp=self.amp,
        )

    def _leave_out(self, error: DataError) -> None:
        limit = self.section.max_bad_records
        if self.bad == limit:
            raise one_too_many(error, limit)
        self.bad += 1
        log.warning("bad record %d of at most %d, left out of its class's mean: %s", self.bad, limit, error)
