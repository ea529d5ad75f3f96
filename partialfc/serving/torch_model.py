"""A trained network that torch runs, which is imported when one is opened: a run, a checkpoint, weights."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from partialfc.errors import MissingExtraError
from partialfc.serving.rows import Name, Pixels, Rows, check_pixels, numbered, unit_rows
from partialfc.serving.with_card import WithCard

if TYPE_CHECKING:
    import torch

    from partialfc.trained import Trained


class TorchModel(WithCard):
    """A trained network as a `Model`, on a device, computing in the type that the run verified in."""

    def __init__(self, trained: "Trained", device: "torch.device") -> None:
        import torch

        from partialfc.distributed.device import autocast_dtype
        from partialfc.trained import card_of

        self.card = card_of(trained)
        self._device = device
        self._amp = autocast_dtype(trained.amp, device)
        self._network = trained.backbone.to(device).eval()
        if trained.channels_last:
            self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def embed(self, images: Pixels, *, name: Name = numbered) -> Rows:
        """uint8 [n, image_size, image_size, channels] -> rows of norm 1, float32 [n, D]; see `Model`."""
        import torch

        from partialfc.evaluation.embed import rows_of

        check_pixels(images, size=self.image_size, channels=self.channels)
        if not len(images):
            return np.zeros((0, self.embedding_size), np.float32)
        with torch.inference_mode():
            rows = rows_of(self._network, images, device=self._device, amp=self._amp)
        return unit_rows(rows.numpy(), name)


def open_by_torch(path: Path, *, threads: int | None, device: str, trust: Collection[str]) -> TorchModel:
    """As `open_model`. threads: of all that torch computes in this process.

    Raises MissingExtraError without torch.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            f"{path} is opened by torch, which cannot be imported ({error}): pip install torch; or export it "
            "where torch is there, and take the .onnx"
        ) from error
    from partialfc.distributed.device import local_device
    from partialfc.trained import load_trained

    if threads is not None:
        torch.set_num_threads(threads)
    target = local_device(device, name="device")
    return TorchModel(load_trained(path, trust=trust), target)
