"""Templates: the embeddings of several images of one subject made one."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.world import World
from partialfc.errors import DataError


@dataclass(frozen=True, eq=False)
class Pooled:
    """T templates: numbers [T], rising, and their embeddings [T, D], not normalised, on every rank."""

    numbers: npt.NDArray[np.int64]
    rows: Tensor

    def places(self, templates: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where each is among the numbers; -1 for a template that there is not."""
        places = np.searchsorted(self.numbers, templates).clip(max=len(self.numbers) - 1)
        return np.where(self.numbers[places] == templates, places, -1)


def pool(
    rows: Tensor,
    template: npt.NDArray[np.int64],
    media: npt.NDArray[np.int64],
    weights: npt.NDArray[np.floating] | None,
    world: World,
    *,
    first: int = 0,
    norm: bool = True,
) -> Pooled:
    """This rank's embeddings [n, D], of the images from number `first` on, to those of the T templates.

    template, media [N]: of every image of all ranks. First the mean within a medium, so that a video of a
    hundred frames counts as much as a photograph, then the sum over the media of a template. weights [N]:
    what each image's embedding is multiplied by before, such as how sure the detector was of the face; None:
    1. norm: False divides each embedding by its norm first, which else weighs it too. As InsightFace's
    evaluation; Crosswhite et al. 2017, "Template Adaptation for Face Verification and Identification", for
    the media. Collective.

    Raises DataError for a template whose embedding is zero or not finite.
    """
    own = slice(first, first + len(rows))
    if not norm:
        rows = torch.nn.functional.normalize(rows)
    if weights is not None:
        rows = rows * torch.from_numpy(np.asarray(weights[own], np.float32)).to(rows)[:, None]
    both, medium, sizes = np.unique(
        np.stack([template, media], 1), axis=0, return_inverse=True, return_counts=True
    )
    means = rows.new_zeros(len(both), rows.shape[1])
    means.index_add_(0, torch.from_numpy(medium.reshape(-1)[own].copy()).to(rows.device), rows)
    means = world.all_reduce_sum(means) / torch.from_numpy(sizes[:, None]).to(means)
    numbers, of_template = np.unique(both[:, 0], return_inverse=True)
    pooled = rows.new_zeros(len(numbers), rows.shape[1])
    pooled.index_add_(0, torch.from_numpy(of_template).to(rows.device), means)
    norms = torch.linalg.vector_norm(pooled, dim=1).cpu().numpy()
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(bad):
        raise DataError(
            f"template {numbers[bad[0]]} has an embedding that is zero or not finite, {len(bad)} of "
            f"{len(numbers)} have; look at its images and at their weights, such as a detector's scores of 0"
        )
    return Pooled(numbers, pooled)
