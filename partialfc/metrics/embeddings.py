"""The metrics of embeddings that are trained without a head."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.accelerator import OnTheWay
from partialfc.metrics.registry import Registry


class EmbeddingMetrics:
    """Counts the images that `saw` is told of; `log` adds the norm of their embeddings."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._norm = torch.tensor(torch.nan)

    @torch.no_grad()
    def saw(self, embeddings: Tensor) -> None:
        """Embeddings [B, D] of this rank have been trained on. Does not wait for the device."""
        self.registry.add("partialfc_images_total", len(embeddings))
        self._norm = torch.linalg.vector_norm(embeddings.float(), dim=1).mean()

    def measure(self) -> "EmbeddingValues":
        """Ask for what `log` reports of the last embeddings, without waiting for the device."""
        return EmbeddingValues(self._norm)

    def log(self, values: "EmbeddingValues | None" = None) -> None:
        """Report the norm. Reads the device.

        values: those of an earlier step, which `measure` gave; they are there a step later.
        """
        norm = (values or self.measure()).embedding_norm()
        if np.isfinite(norm):
            self.registry.set("partialfc_embedding_norm", norm)


class EmbeddingValues:
    """The mean norm [] of this rank's embeddings, on its way from the device."""

    def __init__(self, norm: Tensor) -> None:
        self._norm = OnTheWay(norm)

    def angles(self) -> npt.NDArray[np.float64]:
        """[0]: there are no centres."""
        return np.empty(0)

    def embedding_norm(self) -> float:
        """Waits until it is there."""
        return float(self._norm.values())
