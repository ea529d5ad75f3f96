"""A trained network: its backbone, and the centres of the classes it was trained on."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from partialfc.checkpoint.state import STATE, read_state
from partialfc.deploy.arguments import check_classes, check_embeddings, check_images, check_k
from partialfc.deploy.centres import SavedCentres
from partialfc.deploy.class_names import names_of_checkpoint
from partialfc.deploy.saved_network import SavedNetwork
from partialfc.errors import CheckpointError, ConfigError
from partialfc.serving.card import Card
from partialfc.uncertainty import ProbabilisticEmbedding

CHUNK = 65_536  # classes whose centres are in memory at a time


@dataclass(frozen=True)
class Trained:
    """A trained network in evaluation mode. Called with images, it gives their embeddings.

    Attributes:
        checkpoint (Path): What was loaded.
        step (int): The step that it was saved at.
        backbone (nn.Module): Floats [B, channels, image_size, image_size] in -1..1, pixel / 127.5 - 1,
            to embeddings [B, D], not normalised. It takes no other range, and does not notice one.
        embedding_size (int): D.
        image_size (int): The side of an image.
        channels (int): 3, red, green and blue; or 1, grey.
        num_classes (int): C, how many classes it was trained on.
        probabilistic (ProbabilisticEmbedding | None): The backbone with what says how sure it is, from a run
            with `objective: {name: pfe}`; None for other runs. Takes what the backbone takes.
        saved (SavedNetwork | None): What builds the backbone; None for an .onnx.
        card (Card | None): What an export says of itself, or the shapes of an .onnx tell; None for others.
    """

    checkpoint: Path
    step: int
    backbone: nn.Module
    embedding_size: int
    image_size: int
    channels: int
    num_classes: int
    probabilistic: ProbabilisticEmbedding | None = None
    saved: SavedNetwork | None = None
    card: Card | None = None

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is of a run's checkpoint, which has centres and a config, and not of a file."""
        return (self.checkpoint / STATE).exists()

    @property
    def amp(self) -> str | None:
        """What the network was autocast to when the run verified, as `train.amp` names it; None: nothing.

        A call computes in the backbone's own type.
        """
        return None if self.saved is None else self.saved.amp

    @property
    def channels_last(self) -> bool:
        """Whether the run kept the network in that memory format: `backbone.channels_last`."""
        return self.saved is not None and self.saved.channels_last

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes' names in the order of their ids, where the run has them.

        It does on image folders, and on a `.rec` with a `classes.txt` beside it.

        Raises CheckpointError where the run's classes.json is damaged.
        """
        if not self.is_checkpoint:
            return None
        return names_of_checkpoint(self.checkpoint, num_classes=self.num_classes)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """images [B, channels, image_size, image_size] -> their embeddings [B, D], not normalised.

        images: uint8, 0..255, as decoders give them, in the order red, green, blue (OpenCV gives blue, green,
        red: `pixels[:, :, ::-1]`); or floats of any dtype in -1..1. On the backbone's device. Floats in 0..1,
        such as torchvision's ToTensor gives, are not noticed and give wrong embeddings: `2 * images - 1`.
        Decoding and resizing as in training is `partialfc.evaluation.embed.embed`.

        Raises ValueError for another type, shape, range or device.
        """
        device, dtype = self._device_and_dtype()
        images = check_images(images, (self.channels, self.image_size, self.image_size), device, dtype)
        embeddings: Tensor = self.backbone(images)
        return embeddings

    @torch.no_grad()
    def gaussians(self, images: Tensor) -> Tensor:
        """images [B, channels, image_size, image_size] -> Gaussians [B, 2D]: means of norm 1, log variances.

        images: as for a call. `partialfc.uncertainty` compares, fuses, rates and splits them.

        Raises ConfigError for a run without uncertainty, ValueError as a call does.
        """
        network = self.require_probabilistic()
        device, dtype = self._device_and_dtype()
        images = check_images(images, (self.channels, self.image_size, self.image_size), device, dtype)
        gaussians: Tensor = network(images)
        return gaussians

    def require_probabilistic(self) -> ProbabilisticEmbedding:
        """`probabilistic`, or ConfigError where the run has none."""
        if self.probabilistic is None:
            raise ConfigError(
                f"{self.checkpoint} gives embeddings without uncertainty: train the rest with objective: "
                "{name: pfe, backbone_from: this run}"
            )
        return self.probabilistic

    def require_checkpoint(self, what: str) -> None:
        """CheckpointError, which names what is lacking, where it is of a file or an export."""
        if not self.is_checkpoint:
            raise CheckpointError(
                f"{self.checkpoint} has no {what}: give the folder of the run that trained it"
            )

    def centres(self, start: int = 0, stop: int | None = None) -> Tensor:
        """The centres of classes start..stop (None: C), from the checkpoint -> float32 [stop - start, D].

        A centre is the class's row of the last layer, not normalised: most margins compare directions alone,
        so normalise it as you do an embedding. With k `sub_centers` they are all given, [stop - start, k, D];
        the one that is nearest to an embedding stands for the class. Only these rows are read; go through
        many classes in ranges.

        Raises ValueError for classes that there are not, CheckpointError where the checkpoint lacks them.
        """
        self.require_checkpoint("centres of classes")
        first, last = check_classes(start, self.num_classes if stop is None else stop, self.num_classes)
        rows = self._centres.read(first, last).float()
        return (
            rows if self.sub_centers == 1 else rows.view(last - first, self.sub_centers, self.embedding_size)
        )

    @property
    def sub_centers(self) -> int:
        """How many centres each class has: `head.sub_centers` of the run.

        Raises CheckpointError where the checkpoint lacks them.
        """
        return self._centres.per_class

    def top_k(self, embeddings: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """embeddings [n, D] -> the k nearest classes of each: cosines [n, k], falling, and class ids [n, k].

        A class with sub-centres is as near as the nearest of them. Norms and biases do not count.
        All centres are read, some thousand at a time. Embeddings are floats of any dtype, on any device.

        Raises ValueError for k that is no whole number in 1..C, or embeddings of another type or shape.
        """
        self.require_checkpoint("centres of classes")
        k = check_k(k, self.num_classes)
        check_embeddings(embeddings, self.embedding_size)
        unit = nn.functional.normalize(embeddings.detach().float().cpu())
        best = unit.new_empty(len(unit), 0), torch.empty(len(unit), 0, dtype=torch.int64)
        for start in range(0, self.num_classes, CHUNK):
            centres = self.centres(start, min(start + CHUNK, self.num_classes))
            of_each = unit @ nn.functional.normalize(centres.reshape(-1, self.embedding_size)).T
            of_classes = of_each.view(len(unit), len(centres), self.sub_centers).amax(2)
            cosines, classes = of_classes.topk(min(k, len(centres)))
            found = torch.cat([best[0], cosines], 1), torch.cat([best[1], classes + start], 1)
            order = found[0].topk(min(k, found[0].shape[1])).indices
            best = found[0].gather(1, order), found[1].gather(1, order)
        return best

    @cached_property
    def _centres(self) -> SavedCentres:
        state = read_state(self.checkpoint)
        return SavedCentres(self.checkpoint, state, embedding_size=self.embedding_size)

    def _device_and_dtype(self) -> tuple[torch.device, torch.dtype]:
        """What the backbone's parameters lie on and are; None of them: the CPU and float32."""
        first = next((each for each in self.backbone.parameters() if each.is_floating_point()), None)
        return (torch.device("cpu"), torch.float32) if first is None else (first.device, first.dtype)
