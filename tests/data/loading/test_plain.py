"""The plain loader: one stream for any number of workers and ranks, resumable anywhere."""

import numpy as np
import pytest
import torch

from partialfc.data.images.codec import decode
from partialfc.data.loading.identities import Identities
from partialfc.data.loading.sampler import BatchSampler, Shuffled
from partialfc.errors import CheckpointError, ConfigError, DataError
from tests.data.loading.cases import (
    VARIED,
    Pictures,
    build,
    joined,
    noise,
    same,
    take,
)

pytestmark = [
    pytest.mark.usefixtures("quick_workers"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


def test_the_samples_of_any_batch_can_be_named_while_reading(pictures):
    """As an error needs it: across an epoch's end, without moving the stream."""
    loader, expected = build(pictures), take(build(pictures), 6)
    for place, (_, labels) in enumerate(expected):
        assert torch.equal(torch.tensor(loader.indices_at(4 * place)) % 5, labels)
        assert same(next(loader), expected[place])
    assert loader.batch_size == 4


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_hold_the_images_that_the_sampler_names(channels):
    source = Pictures(noise(7, channels))
    sampler = BatchSampler(Shuffled(7, seed=1), global_batch=4)
    loader = build(source, image_size=12, channels=channels)
    for (images, labels), pairs in zip(take(loader, 5), sampler, strict=False):
        assert images.shape == (4, channels, 12, 12)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        for image, label, (index, _) in zip(images, labels, pairs, strict=True):
            assert label == index % 5
            expected = decode(source.images[index], channels=channels)
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize(("workers", "world_size"), [(0, 2), (0, 3), (1, 1), (1, 3), (3, 1), (3, 2)])
def test_workers_and_world_size_change_no_pixel(pictures, reference, workers, world_size):
    parts = []
    for rank in range(world_size):
        with build(pictures, augment=VARIED, workers=workers, rank=rank, world_size=world_size) as loader:
            parts.append(take(loader, 9))
    for expected, ranks in zip(reference, zip(*parts, strict=True), strict=True):
        assert same(joined(list(ranks)), expected)


def test_augmentation_differs_between_epochs_and_seeds(pictures):
    source = Pictures(pictures.images[:1])
    one = joined(take(build(source, augment=VARIED), 5))[0]
    assert len(one.flatten(1).unique(dim=0)) > 10
    other = joined(take(build(source, augment=VARIED, seed=2), 5))[0]
    assert not torch.equal(one, other)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 4])
def test_stopping_and_resuming_equals_not_stopping(pictures, reference, workers, stop):
    with build(pictures, augment=VARIED, workers=workers) as loader:
        assert loader.position == 0
        before = take(loader, stop)
        state = loader.state_dict()
        assert state == {"position": 4 * stop}
        assert loader.position == 4 * stop
    with build(pictures, augment=VARIED, workers=2 - workers) as loader:
        loader.load_state_dict(state)
        after = take(loader, 9 - stop)
    assert all(map(same, before + after, reference))


def test_a_running_loader_can_be_moved(pictures, reference):
    with build(pictures, augment=VARIED, workers=1) as loader:
        take(loader, 3)
        loader.load_state_dict({"position": 4})
        assert same(next(loader), reference[1])
        loader.close()
        assert same(next(loader), reference[2])


def test_a_loader_can_start_at_a_position_that_no_batch_starts_at(pictures, reference):
    images, labels = joined(reference)
    moved = joined(take(build(pictures, augment=VARIED, position=3), 8))
    assert same(moved, (images[3:35], labels[3:35]))


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_leaves_global_random_state_alone(pictures, workers):
    before = torch.get_rng_state()
    with build(pictures, augment=VARIED, workers=workers) as loader:
        take(loader, 3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": -1}, r"workers is -1: it must be 0 \(read in this process\) or more"),
        ({"global_batch": 0}, "global_batch is 0"),
        ({"global_batch": 2, "world_size": 3}, "global_batch is 2, world_size is 3"),
        ({"rank": 2, "world_size": 2}, r"rank is 2: it must be 0\.\.1"),
        ({"image_size": 0}, "image_size is 0: it must be 1 or more"),
        ({"channels": 2}, r"channels is 2: it must be 1 \(grey\) or 3 \(RGB\)"),
        ({"max_bad_records": -1}, r"max_bad_records is -1: it must be 0 \(none is skipped\) or more"),
        ({"timeout_seconds": 0}, "timeout_seconds is 0: it must be more than 0"),
        ({"seed": -1}, "seed is -1"),
        ({"position": -1}, "position is -1"),
    ],
)
def test_bad_arguments_are_named(pictures, changes, message):
    with pytest.raises(ConfigError, match=message):
        build(pictures, **changes)


def test_an_empty_source_is_refused():
    with pytest.raises(DataError, match="the source is empty: it must hold at least one image"):
        build(Pictures([]))


def test_a_damaged_state_is_refused_and_changes_nothing(pictures, reference):
    loader = build(pictures, augment=VARIED)
    take(loader, 2)
    with pytest.raises(CheckpointError, match="'position' must be the number of samples read so far"):
        loader.load_state_dict({"position": "4"})
    assert same(next(loader), reference[2])


@pytest.mark.parametrize(("workers", "world_size"), [(0, 1), (1, 3), (2, 2)])
def test_batches_of_identities_are_the_same_for_any_workers_and_world_size(pictures, workers, world_size):
    """Pictures are of class index % 5, two or three of each."""
    labels = np.arange(11) % 5

    def order():
        return Identities(labels, global_batch=4, images_per_identity=2, seed=1)

    def read(position, count, **changes):
        with build(pictures, augment=VARIED, order=order(), position=position, **changes) as loader:
            return take(loader, count)

    straight = read(0, 9)
    for number, (_, found) in enumerate(straight):
        assert found.tolist() == labels[order().samples(4 * number, 0, 4)].tolist()
    ranks = [read(0, 5, workers=workers, rank=r, world_size=world_size) for r in range(world_size)]
    rest = read(20, 4, workers=workers)
    together = [joined(list(parts)) for parts in zip(*ranks, strict=True)]
    assert all(map(same, together + rest, straight))
