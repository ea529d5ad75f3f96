"""Verification spread over ranks is verification on one."""

import numpy as np
import pytest
import torch
from torch import nn

from partialfc.data.images.codec import encode_png
from partialfc.data.pairs.files import PairSet, VideoPairs
from partialfc.distributed import World
from partialfc.errors import ImageError
from partialfc.evaluation.embed import Flip
from partialfc.evaluation.embedder import Embedder
from partialfc.evaluation.evaluate import evaluate_pairs, mean_scores


def pair_set(count: int) -> PairSet:
    """Genuine pairs show one picture with some noise, impostor pairs two pictures."""
    generator = np.random.default_rng(0)
    images, same = [], np.arange(count) % 2 == 0
    for genuine in same:
        first, other = generator.integers(0, 256, (2, 8, 8, 1))
        noise = generator.integers(-120, 120, first.shape)
        second = (first + noise).clip(0, 255) if genuine else other
        images += [encode_png(picture.astype(np.uint8)) for picture in (first, second)]
    return PairSet(images, same)


def run(count: int, flip: Flip, bad: int | None = None) -> tuple[dict, list[float]]:
    """bad: the number of an image that cannot be decoded."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    pairs = pair_set(count)
    if bad is not None:
        pairs.images[bad] = b"no image"
    embedder = Embedder(
        network=backbone,
        size=5,
        world=World.of(),
        image_size=8,
        channels=1,
        batch_size=7,
        device=torch.device("cpu"),
        flip=flip,
    )
    found = evaluate_pairs(embedder, pairs, folds=2)
    return found.result.to_dict(), found.scores.tolist()


@pytest.mark.parametrize("flip", ["none", "concat"])
@pytest.mark.parametrize(("world_size", "count"), [(2, 31), (3, 40), (4, 4)])
def test_any_number_of_ranks_gives_the_same_scores(run_ranks, world_size, count, flip):
    expected, scores = run(count, flip)
    for result, spread in run_ranks(run, world_size, count, flip):
        assert spread == pytest.approx(scores, abs=1e-6)
        assert result["accuracy"] == pytest.approx(expected["accuracy"])


def test_an_image_that_one_rank_cannot_decode_ends_all_with_its_number(rank_outcomes):
    first, second = rank_outcomes(run, 2, 6, "none", 11)
    assert isinstance(first, ImageError)
    assert str(first) == str(second)
    assert str(first).startswith("rank 1: image 11 (pair 5): ")


class Counted(nn.Module):
    """Counts the images that it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.linear = nn.Linear(64, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return self.linear(images.flatten(1))


def embedder_of(network: nn.Module) -> Embedder:
    how = {"image_size": 8, "channels": 1, "batch_size": 7, "device": torch.device("cpu")}
    return Embedder(network=network, size=5, world=World.of(), **how)


def test_an_image_of_several_pairs_is_embedded_once():
    network, drawn = Counted(), pair_set(10)
    twice = PairSet([*drawn.images, *map(bytes, map(bytearray, drawn.images))], np.tile(drawn.same, 2))
    found = evaluate_pairs(embedder_of(network), twice, folds=2)
    assert network.seen == 20
    assert found.scores[:10].tolist() == found.scores[10:].tolist()


def videos(kind: str) -> list[float]:
    """The scores of pairs of four videos of 1 to 4 frames."""
    torch.manual_seed(0)
    network = Counted()
    frames, starts = pair_set(5).images, np.array([0, 1, 3, 6, 10])
    of_each = np.array([[0, 1], [2, 3], [1, 3], [0, 2]])
    pairs = VideoPairs(frames, starts, of_each, np.array([True, False] * 2))
    how = {"scores_of": mean_scores} if kind == "scores" else {}
    return evaluate_pairs(embedder_of(network), pairs, folds=2, **how).scores.tolist()


@pytest.mark.parametrize("kind", ["embeddings", "scores"])
def test_videos_are_compared_by_their_frames(run_ranks, kind):
    torch.manual_seed(0)
    rows = embedder_of(Counted()).rows(pair_set(5).images).astype(np.float64)
    units = rows / np.linalg.norm(rows, axis=1)[:, None]
    of_video, expected = [units[a:b] for a, b in ((0, 1), (1, 3), (3, 6), (6, 10))], []
    for one, other in ((0, 1), (2, 3), (1, 3), (0, 2)):
        if kind == "scores":
            expected.append(np.mean([a @ b for a in of_video[one] for b in of_video[other]]))
        else:
            means = of_video[one].mean(0), of_video[other].mean(0)
            expected.append(means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1]))
    for scores in [videos(kind), *run_ranks(videos, 3, kind)]:
        assert scores == pytest.approx(expected, abs=1e-6)
