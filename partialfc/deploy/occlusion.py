"""What a network trained with occlusion makes of images: its masks, and its predictions of covers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.backbones import with_feature_map
from partialfc.data.images.codec import Pixels
from partialfc.data.images.normalise import normalise
from partialfc.data.sources.labelled import Source
from partialfc.deploy.drawn import drawn, pixels_at
from partialfc.deploy.trained_network import Trained
from partialfc.occlusion import OcclusionNetwork, intersection_over_union
from partialfc.occlusion.covers import FILLS, Fill, cells, cover

BATCH = 256
Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sight:
    """Of n images: what the generator would hide, and what the branch says of covers.

    images, covered: uint8 [n, H, W, C] each. scores [n, h, w]: the generator's, the higher the rather a cell
    is hidden. masks [n, h, w]: one that it drew. where [n, H, W]: the pixels that are covered. predicted
    [n, h, w]: how likely a cell is hidden by the branch, in 0..1. iou: of the branch, by what covers consist
    of; `masks` stands for those of training.
    """

    images: npt.NDArray[np.uint8]
    scores: Numbers
    masks: Numbers
    covered: npt.NDArray[np.uint8]
    where: npt.NDArray[np.bool_]
    predicted: Numbers
    iou: dict[str, float]


def read_pixels(trained: Trained, source: Source, *, count: int, seed: int, max_pixels: int) -> list[Pixels]:
    """Some of a source's images, drawn at random, as the network gets them; ImageError for a bad one."""
    how = {"image_size": trained.image_size, "channels": trained.channels, "max_pixels": max_pixels}
    return [pixels_at(source, index, **how) for index in drawn(source, count=count, seed=seed)]


@torch.inference_mode()
def look(network: OcclusionNetwork, pixels: Sequence[Pixels], *, device: torch.device, seed: int) -> Sight:
    """Cover each image with each kind of cover, one after the other; the pictures have them in turn."""
    network.to(device)
    clear = np.stack(pixels)
    found = [network(batch) for batch in _inputs(clear, device)]
    feature_map = with_feature_map(network.backbone, use="occlusion").feature_map
    scores = [network.generator(feature_map(batch)) for batch in _inputs(clear, device)]
    masks, own = (torch.cat([getattr(each, name) for each in found]) for name in ("masks", "predicted"))
    iou = {"masks": intersection_over_union(own, masks)}
    of_fill = {fill: _covered(network, pixels, fill, device, seed) for fill in FILLS}
    for fill, (_, where, logits) in of_fill.items():
        iou[fill] = intersection_over_union(logits, torch.from_numpy(cells(where, *logits.shape[1:])))
    turns = [of_fill[FILLS[number % len(FILLS)]] for number in range(len(pixels))]
    covered, where, predicted = (
        np.stack([np.asarray(turn[part][number]) for number, turn in enumerate(turns)]) for part in range(3)
    )
    return Sight(
        clear,
        torch.cat(scores).float().cpu().numpy(),
        masks.float().cpu().numpy(),
        covered,
        where,
        1 / (1 + np.exp(-predicted.clip(-50, 50))),
        iou,
    )


def _covered(
    network: OcclusionNetwork, pixels: Sequence[Pixels], fill: Fill, device: torch.device, seed: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], Tensor]:
    """The images covered, where they are, and the branch's logits."""
    rng = np.random.default_rng(seed)
    images, where = (np.stack(each) for each in zip(*(cover(p, rng, fill=fill) for p in pixels), strict=True))
    feature_map = with_feature_map(network.backbone, use="occlusion").feature_map
    logits = [network.branch(feature_map(batch)).float().cpu() for batch in _inputs(images, device)]
    return images, where, torch.cat(logits)


def _inputs(images: npt.NDArray[np.uint8], device: torch.device) -> Sequence[Tensor]:
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    return [normalise(part.to(device)) for part in torch.split(batch, BATCH)]
