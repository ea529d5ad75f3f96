"""The directions of a source's embeddings, in memory at once."""

from typing import Any

import torch
from torch import Tensor

from partialfc.data.benchmarks.image_set import ImageSet
from partialfc.data.parallel.progress import ShowProgress, no_progress
from partialfc.deploy.trained_network import Trained
from partialfc.errors import DataError
from partialfc.evaluation.embed import embed_in_parts


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
        norms = torch.linalg.vector_norm(found, dim=1)
        bad = ((norms == 0) | ~norms.isfinite()).nonzero().flatten()
        if len(bad):
            raise DataError(
                f"the embedding of {images.name(part[int(bad[0])])} is zero or not finite, so it has no "
                "direction: look at that image, or at the network's weights"
            )
        rows[part.start : part.stop] = (found / norms[:, None]).half()
        progress("embedding", part.stop, len(images))
    return rows
