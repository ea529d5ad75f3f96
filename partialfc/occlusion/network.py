"""A backbone that is trained with parts hidden, with the generator of masks and the branch beside it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partialfc.backbones import FeatureMapBackbone, with_feature_map
from partialfc.distributed.accelerator import on_device
from partialfc.errors import CheckpointError
from partialfc.head.arguments import above, at_least, one_of, whole
from partialfc.head.kernels.compiled import outside_graphs
from partialfc.occlusion.masks import (
    RANDOM_HALVES,
    WAYS,
    Candidates,
    Point,
    check_grid,
    draws,
    halves,
    random_halves,
    regions,
)
from partialfc.occlusion.statistics import untracked

PLACES = ("map", "image")


class Occluded(NamedTuple):
    """What the network returns for B images: n = 2B rows where each is there unmasked too, else B.

    An image's two rows are neighbours, the unmasked one first. embeddings [n, D]; masks [n, H, W], 1 where a
    cell was hidden; predicted [n, H, W], what the branch says of it, as a logit.
    """

    embeddings: Tensor
    masks: Tensor
    predicted: Tensor


class CellScores(nn.Module):
    """A feature map [B, C, H, W] -> a number for each cell [B, H, W], in the dtype of its weights."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, 1, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            dtype = next(self.parameters()).dtype
            scores: Tensor = self.layers(features.to(dtype))[:, 0]
        return scores


class OcclusionNetwork(nn.Module):
    """images [B, channels, image_size, image_size] in -1..1 -> :class:`Occluded`: embeddings of hidden parts.

    After Chen, Song, Hu and He 2018, "Adversarial Occlusion-aware Face Detection" (arXiv:1709.05188): a
    generator looks at the feature map and hides the part that raises the loss most, the backbone learns to
    do without it, and a branch predicts what is hidden. Here the loss is of embeddings, not of a detector.

    For each image one of `ways` is drawn, and the generator gives each mask of it a probability: softmax of
    the mean score of the mask's cells. One is drawn by these. Backward passes the masked features' gradient
    straight through to the probabilities, with its sign turned and times `adversary`: what lowers the loss
    for the backbone raises it for the generator, in one backward pass. The generator's own input gives no
    gradient to the backbone. The branch gives none to the generator with at "map"; with "image" they share
    a pass, and the generator climbs the branch's loss too.

    Where each image is there unmasked too, running statistics of BatchNorm follow unmasked images alone, else
    the images that embeddings are of, masked or not. A pass moves them once.

    All draws are a function of (seed, `step`, place in the global batch), so they are the same at any number
    of ranks. `step` counts the forward passes in training mode; a resume sets it. In evaluation mode the same
    is computed, but `step` stays. Whoever wants embeddings alone uses the `backbone`.

    Args:
        backbone (nn.Module): With its last feature map, see `partialfc.backbones.with_feature_map`.
        seed (int): Of the draws; at least 0.
        ways (Sequence[str]): Of "region", "half" and "random_half", one or more; each is drawn equally often.
        size (float): Sides of a region as a share of the map's, in (0, 1]; one line of cells always
            stays. Default 0.5.
        landmarks (Sequence | None): Points (x, y) in 0..1 that regions lie around; None (default): any cell.
        at (str): Where masks hide. "image" (default): the pixels under masked cells get one random level, and
            the backbone computes the map of that image. "map": masked cells of the feature map are 0.
        share (float): How many images are masked, in (0, 1]. Default 0.5.
        unmasked (bool): Whether each image is there unmasked too. Default True.
        adversary (float): The factor of the generator's gradient, at least 0; 0: it learns nothing, so masks
            stay almost random. Default 1.
        hidden (int): Channels inside the generator and the branch, which are on the device of the backbone's
            parameters, in float32, or float64 where they are. Default 32.
        first (int): The place of this rank's first image in the global batch. Default 0.

    Attributes:
        step (int): How many forward passes in training mode there were.

    Raises:
        ConfigError: for a backbone that does not show its feature map, or one that is too small.
        ValueError: for an argument of another type or out of its range.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        seed: int,
        ways: Sequence[str] = WAYS,
        size: float = 0.5,
        landmarks: Sequence[Point] | None = None,
        at: str = "image",
        share: float = 0.5,
        unmasked: bool = True,
        adversary: float = 1.0,
        hidden: int = 32,
        first: int = 0,
    ) -> None:
        super().__init__()
        channels, height, width = self._in_two_parts(backbone).map_shape
        check_grid(height, width)
        hidden = whole("hidden", hidden, least=1)
        self.backbone = backbone
        self.generator = CellScores(channels, hidden)
        self.branch = CellScores(channels, hidden)
        self.seed = whole("seed", seed, least=0)
        self.ways = _checked_ways(ways)
        self.at = one_of("at", at, PLACES)
        self.share = above("share", share, 0.0, at_most=1.0)
        self.unmasked = one_of("unmasked", unmasked, (False, True))
        self.adversary = at_least("adversary", adversary, 0.0)
        self.first = whole("first", first, least=0)
        self.step = 0
        size = above("size", size, 0.0, at_most=1.0)
        around = regions(height, width, size=size, landmarks=_checked_points(landmarks))
        fixed = torch.cat([around, halves(height, width)]).flatten(1)
        self.register_buffer("fixed", fixed, persistent=False)
        kinds = ["region"] * len(around) + ["half"] * 4 + ["random_half"] * RANDOM_HALVES
        of_way = torch.tensor([[kind == name for kind in kinds] for name in self.ways], device="cpu")
        self.register_buffer("of_way", of_way, persistent=False)  # [ways, masks]
        self.fixed: Tensor
        self.of_way: Tensor
        device, dtype = _device_and_dtype(backbone)
        for part in (self.generator, self.branch):
            part.to(device, dtype)
        self.fixed, self.of_way = self.fixed.to(device, dtype), self.of_way.to(device)

    def forward(self, images: Tensor) -> Occluded:
        parts = self._in_two_parts(self.backbone)
        clear = self._clear(images)
        count, (_, height, width) = len(images), parts.map_shape
        numbers = self._numbers(count).to(self.fixed.dtype)
        ends = 1, 2, 3, 3 + self.of_way.shape[1]
        chance, way, level, gumbel, order = torch.tensor_split(numbers, ends, 1)
        candidates = self._candidates(way, order.view(count, RANDOM_HALVES, height * width))
        hidden, likely = self._choose(candidates, self.generator(clear.detach()).flatten(1), gumbel)
        masked = (chance < self.share).to(hidden.dtype)
        hidden, likely = ((masked * each).view(count, height, width) for each in (hidden, likely))
        against = hidden - self.adversary * (likely - likely.detach())  # equal to hidden
        if not self.unmasked:
            seen, masked_ones = self._masked(images, clear, against, hidden, 2 * level - 1)
            return Occluded(masked_ones, hidden, self.branch(seen))
        plain = parts.embed_map(clear)
        with untracked(self.backbone):
            seen, masked_ones = self._masked(images, clear, against, hidden, 2 * level - 1)
        target = _neighbours(torch.zeros_like(hidden), hidden)
        return Occluded(_neighbours(plain, masked_ones), target, self.branch(_neighbours(clear, seen)))

    def _clear(self, images: Tensor) -> Tensor:
        """The map of the images as they are; for the generator's eyes alone if no embedding is made of it."""
        parts = self._in_two_parts(self.backbone)
        if self.unmasked or self.at == "map":
            return parts.feature_map(images)
        kind = images.device.type  # weights that autocast keeps from here would have no gradient later
        uncached = torch.autocast(kind, enabled=torch.is_autocast_enabled(kind), cache_enabled=False)
        with torch.no_grad(), untracked(self.backbone), uncached:
            return parts.feature_map(images)

    def _masked(
        self, images: Tensor, clear: Tensor, against: Tensor, hidden: Tensor, level: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the branch sees of masked images [B, C, H, W], and their embeddings [B, D].

        clear: the map of the images; against, hidden [B, H, W]: the masks with and without the generator's
        gradient; level [B, 1]: of covered pixels.
        """
        parts = self._in_two_parts(self.backbone)
        if self.at == "image":
            covered = parts.feature_map(_covered(images, against, level))
            return covered, parts.embed_map(covered)
        covered, seen = ((clear * (1 - each[:, None])).to(clear.dtype) for each in (against, hidden))
        return seen, parts.embed_map(covered)

    def beside_backbone(self, prefix: str = "") -> dict[str, Tensor]:
        """The tensors of the generator and the branch by name, for a checkpoint beside the backbone's."""
        return {f"{prefix}{name}": tensor for name, tensor in _beside(self).state_dict().items()}

    def load_beside_backbone(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `beside_backbone` gave. Raises CheckpointError where it is of another network."""
        try:
            _beside(self).load_state_dict(tensors)
        except (RuntimeError, AttributeError) as error:
            problem = str(error).strip().replace("\n\t", " ")
            raise CheckpointError(
                f"its generator and branch of occlusion do not fit this network's: {problem}"
            ) from error

    @outside_graphs
    def _numbers(self, count: int) -> Tensor:
        """This step's draws [count, numbers of an image] on the device; then `step` goes on."""
        height, width = self._in_two_parts(self.backbone).map_shape[1:]
        each = 3 + self.of_way.shape[1] + RANDOM_HALVES * height * width
        drawn = draws(self.seed, self.step, first=self.first, count=count, numbers=each)
        self.step += self.training
        return on_device(torch.from_numpy(drawn), self.fixed.device)

    def _candidates(self, way: Tensor, order: Tensor) -> Candidates:
        """way [B, 1] and order [B, R, cells], both uniform draws."""
        last = len(self.ways) - 1
        chosen = (way[:, 0] * len(self.ways)).long().clamp_max(last)  # a draw may have been rounded to 1
        return Candidates(self.fixed, random_halves(order), self.of_way[chosen])

    def _choose(self, candidates: Candidates, scores: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """The mask that is drawn [B, cells], and the mean of all by their probabilities [B, cells]."""
        logits = candidates.logits(scores.to(self.fixed.dtype))
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-7)))
        chosen = (logits.detach() + gumbel).argmax(1)
        hidden = candidates.mixed(F.one_hot(chosen, logits.shape[1]).to(logits.dtype))
        return hidden, candidates.mixed(logits.softmax(1))

    @staticmethod
    def _in_two_parts(backbone: nn.Module) -> FeatureMapBackbone:
        return with_feature_map(backbone, use="occlusion")


def _beside(network: OcclusionNetwork) -> nn.ModuleDict:
    return nn.ModuleDict({"generator": network.generator, "branch": network.branch})


def _device_and_dtype(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Where a module computes, and float64 where it does, else float32."""
    first = next((each for each in module.parameters() if each.is_floating_point()), torch.empty(0))
    return first.device, torch.float64 if first.dtype == torch.float64 else torch.float32


def _covered(images: Tensor, masks: Tensor, level: Tensor) -> Tensor:
    """images [B, C, h, w] with the pixels under masks [B, H, W] at one level [B, 1] for each image.

    In the images' dtype, but float64 where masks are, so that their gradient is float64 all the way.
    """
    pixels = F.interpolate(masks[:, None], size=images.shape[-2:], mode="nearest")
    covered = images * (1 - pixels) + level[:, :, None, None] * pixels
    return covered if masks.dtype == torch.float64 else covered.to(images.dtype)


def _neighbours(first: Tensor, second: Tensor) -> Tensor:
    """[B, ...] and [B, ...] -> [2B, ...], one of each in turn: so the order of a batch is that of any W."""
    return torch.stack([first, second], 1).flatten(0, 1)


def _checked_ways(ways: object) -> tuple[str, ...]:
    names = ways if isinstance(ways, (list, tuple)) else ()
    if not names or not all(name in WAYS for name in names) or len({*names}) < len(names):
        raise ValueError(f"ways is {ways!r}; it must list one or more of {', '.join(WAYS)}, each once")
    return tuple(names)


def _checked_points(points: object) -> list[Point] | None:
    if points is None:
        return None
    listed = points if isinstance(points, (list, tuple)) else ()
    if not listed or not all(_is_point(point) for point in listed):
        raise ValueError(
            f"landmarks is {points!r}; it must list points (x, y), each number in 0..1 from the left and the "
            "top; leave it out for regions around every cell"
        )
    return [(float(x), float(y)) for x, y in listed]


def _is_point(value: object) -> bool:
    numbers = value if isinstance(value, (list, tuple)) and len(value) == 2 else ("",)
    return all(isinstance(x, (int, float)) and not isinstance(x, bool) and 0 <= x <= 1 for x in numbers)
