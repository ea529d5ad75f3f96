"""Means of classes over the ranks against a loop over all images."""

import numpy as np
import pytest
import torch

from partialfc.distributed.world import World
from partialfc.errors import ImageError
from partialfc.finetune.class_means import class_means

C, D, IMAGES = 7, 5, 40
EMPTY = 3  # a class without images
UNREAD = (4, 17, 18)


def some_images(scale: float = 1.0) -> tuple[torch.Tensor, np.ndarray]:
    """Embeddings [n, D] of any norm, and labels [n] in no order, one of them of a damaged record."""
    generator = np.random.default_rng(0)
    labels = generator.choice([0, 1, 2, 4, 5], IMAGES)
    labels[7], labels[11] = -1, 6
    return scale * torch.from_numpy(generator.normal(2.0, 3.0, (IMAGES, D))), labels


def by_a_loop() -> tuple[torch.Tensor, torch.Tensor]:
    """The means [C, D] and how many images they are of [C]."""
    embeddings, labels = some_images()
    means, counts = torch.zeros(C, D, dtype=torch.float64), torch.zeros(C, dtype=torch.int64)
    for index, (embedding, label) in enumerate(zip(embeddings, labels, strict=True)):
        if label >= 0 and index not in UNREAD:
            means[label] += embedding / embedding.norm()
            counts[label] += 1
    return means / counts.clamp(min=1)[:, None], counts


def on_this_rank(images_at_once: int) -> tuple[torch.Tensor, torch.Tensor, list[int], list[int]]:
    embeddings, labels = some_images()
    asked: list[int] = []

    def embed(indices):
        asked.extend(indices.tolist())
        kept = np.array([index for index in indices.tolist() if index not in UNREAD], np.int64)
        return embeddings[kept], kept

    blocks = list(
        class_means(
            embed,
            labels,
            num_classes=C,
            embedding_size=D,
            device=torch.device("cpu"),
            images_at_once=images_at_once,
        )
    )
    starts = [block.start for block in blocks]
    return torch.cat([b.means for b in blocks]), torch.cat([b.images for b in blocks]), asked, starts


@pytest.mark.parametrize("images_at_once", [1, 9, 1000])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_they_are_those_of_a_loop_over_all_images(run_ranks, world_size, images_at_once):
    """To the rounding of float64, on every rank, and every image is embedded once."""
    means, counts = by_a_loop()
    assert counts[EMPTY] == 0
    results = run_ranks(on_this_rank, world_size, images_at_once)
    for found, images, _, starts in results:
        torch.testing.assert_close(found, means, atol=1e-15, rtol=1e-14)
        assert torch.equal(images, counts)
        assert len(starts) == {1: C, 1000: 1}.get(images_at_once, len(starts))
    asked = [index for result in results for index in result[2]]
    assert sorted(asked) == [index for index in range(IMAGES) if index != 7]
    if images_at_once == 1000:
        shares = [len(result[2]) for result in results]
        assert max(shares) - min(shares) <= 1


def test_an_embedding_that_is_not_finite_spoils_the_mean_of_its_class_alone():
    embeddings, labels = some_images()
    spoilt = int(np.flatnonzero(labels == 2)[0])
    embeddings[spoilt, 1] = torch.nan
    (block,) = class_means(
        lambda indices: (embeddings[indices], indices),
        labels,
        num_classes=C,
        embedding_size=D,
        device=torch.device("cpu"),
        images_at_once=1000,
    )
    assert block.means.isfinite().all(dim=1).tolist() == [label != 2 for label in range(C)]


def failing_on_rank_1() -> None:
    _, labels = some_images()

    def embed(indices):
        if World.of().rank == 1:
            raise ImageError("image 3 is damaged")
        return torch.zeros(len(indices), D), indices

    sizes = {"num_classes": C, "embedding_size": D, "images_at_once": 8}
    list(class_means(embed, labels, device=torch.device("cpu"), **sizes))


def test_a_failure_of_one_rank_is_raised_on_all(rank_outcomes):
    for error in rank_outcomes(failing_on_rank_1, 2):
        assert isinstance(error, ImageError)
        assert "rank 1: image 3 is damaged" in str(error)
