"""The directions of a source's embeddings, in memory at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from partialfc.data.benchmarks.image_set import ImageSet
from partialfc.data.parallel.progress import ShowProgress, no_progress
from partialfc.deploy.trained_network import Trained
from partialfc.evaluation.embed import embed_in_parts
from partialfc.serving.rows import unit_rows


def unit_embeddings(
    trained: Trained,
    images: ImageSet,
    *,
    progress: ShowProgress = no_progress,
    **how: Any,
) -> Tensor:
    """Images [n] -> unit rows [n, D] in float16, whose cosines are right to about 1e-4; 2 · n · D bytes.

    The backbone must be on `how["device"]`; `how`: further arguments of `partialfc.evaluation.embed.embed`.

    Raises ImageError, which names an image that cannot be decoded, and DataError for one whose embedding is
    zero or not finite.
    """
    rows = torch.empty(len(images), trained.embedding_size, dtype=torch.float16)
    sizes = {"image_size": trained.image_size, "channels": trained.channels}
    for part, found in embed_in_parts(trained.backbone, images, name=images.name, **sizes, **how):
        unit = unit_rows(found.numpy(), _names(images, part))
        rows[part.start : part.stop] = torch.from_numpy(unit).half()
        progress("embedding", part.stop, len(images))
    return rows


def _names(images: ImageSet, part: range) -> Callable[[int], str]:
    """What the images of a part are called."""
    return lambda index: images.name(part[index])
