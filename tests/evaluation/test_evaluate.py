"""Verification spread over ranks is verification on one."""

import numpy as np
import pytest
import torch
from torch import nn

from partialfc.data.images.codec import encode_png
from partialfc.data.pairs.files import PairSet
from partialfc.distributed import World
from partialfc.errors import ImageError
from partialfc.evaluation.embed import Flip
from partialfc.evaluation.embedder import Embedder
from partialfc.evaluation.evaluate import evaluate_pairs


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
    result, scores = evaluate_pairs(embedder, pairs, folds=2)
    return result.to_dict(), scores.tolist()


@pytest.mark.parametrize("flip", ["none", "concat"])
@pytest.mark.parametrize(("world_size", "count"), [(2, 31), (3, 40), (4, 2)])
def test_any_number_of_ranks_gives_the_same_scores(run_ranks, world_size, count, flip):
    expected, scores = run(count, flip)
    for result, spread in run_ranks(run, world_size, count, flip):
        assert spread == pytest.approx(scores, abs=1e-6)
        assert result["accuracy"] == pytest.approx(expected["accuracy"])


def test_an_image_that_one_rank_cannot_decode_ends_all_with_its_number(rank_outcomes):
    first, second = rank_outcomes(run, 2, 6, "none", 11)
    assert isinstance(first, ImageError)
    assert str(first) == str(second)
    assert str(first).startswith("rank 1: image 11 of 12: ")
