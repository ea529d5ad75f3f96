"""Adversarial occlusion: another objective on images of which parts are hidden, and the branch beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from partialfc.checkpoint.tensors import Tensors
from partialfc.distributed.world import World
from partialfc.occlusion import OcclusionNetwork, SegmentationLoss
from partialfc.training.objectives.around import Around
from partialfc.training.objectives.classification import Classification
from partialfc.training.objectives.objective import Outputs

TERM = "segmentation"
ROOM = "occlusion"  # its tensors in a checkpoint


class Occlusion(Around):
    """The inner objective learns from the masked images, and from those without a mask beside them."""

    network: OcclusionNetwork

    def __init__(self, inner: Classification, network: OcclusionNetwork, *, segmentation: float) -> None:
        """segmentation: the weight of the branch's loss."""
        super().__init__(inner, network)
        self._head = inner.head
        self._segmentation = segmentation
        self._branch_loss = SegmentationLoss()
        self.terms = (*(inner.terms or ("head",)), TERM)

    def loss(self, images: Tensor, outputs: Outputs, labels: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        rows = labels.repeat_interleave(2) if self.network.unmasked else labels
        whole, values = self.inner.loss(images, outputs.embeddings, rows)
        branch = self._branch_loss(outputs.predicted, outputs.masks, rows)
        return whole + self._segmentation * branch, [*(values or [whole.detach()]), branch.detach()]

    def embeddings(self, outputs: Outputs) -> Tensor:
        embeddings: Tensor = outputs.embeddings
        return embeddings[::2] if self.network.unmasked else embeddings

    def keep(self) -> None:
        super().keep()
        self.network.step = self._head.step  # which counts the same, and is in the checkpoint

    @property
    def worlds(self) -> Sequence[World]:
        return [*self.inner.worlds, self._branch_loss.world]

    def tensors(self) -> Tensors:
        inner, own = self.inner.tensors(), self.network.beside_backbone(f"{ROOM}/")
        return Tensors(inner.sharded, {**inner.replicated, **own}, inner.private)

    def restore_state(
        self, values: Mapping[str, Any], replicated: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        self.inner.restore_state(values, replicated)
        self.network.load_beside_backbone(replicated.get(ROOM, {}))
