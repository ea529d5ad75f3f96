"""Samples that cannot be read: each is named by the error of its kind, some may be replaced."""

import os
import pickle
import re
import shutil
from itertools import islice

import pytest
import torch

from partialfc.data.loading.sampler import BatchSampler, Shuffled
from partialfc.data.loading.transforms import ToEncoded, ToPixels
from partialfc.data.sources.insightface import write_source
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError, ImageError, LabelError, RecordError, RecordIndexError
from tests.data.loading.cases import (
    PLAIN,
    Pictures,
    Trouble,
    build,
    joined,
    read_until_error,
    take,
)
from tests.paths import MXNET

pytestmark = [
    pytest.mark.usefixtures("quick_workers"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("kind", "expected", "message"),
    [
        ("image", ImageError, "^pictures/6.png: "),
        ("record", RecordError, "^pictures/6.png: train.rec record 6: bad magic$"),
        ("os", DataError, "^pictures/6.png: OSError: device gone$"),
    ],
)
def test_a_bad_sample_is_named_by_the_error_of_its_kind(pictures, workers, kind, expected, message):
    error, loader = read_until_error(Trouble(pictures.images, bad=6, kind=kind), workers)
    assert type(error) is expected
    assert re.search(message, str(error))
    position = loader.position
    pairs = next(iter(BatchSampler(Shuffled(11, seed=1), global_batch=4, position=position)))
    assert 6 in [index for index, _ in pairs], "the position is that of the batch that failed"
    with pytest.raises(expected):
        next(loader)
    assert loader.position == position


def test_an_image_that_claims_too_many_pixels_is_a_bad_record(pictures):
    """In both loaders' workers, by a bound of the caller's: DALI's are given what `ToEncoded` lets pass."""
    images = list(pictures.images)
    images[6] = b"P5 70000 70000 255\n"
    with build(Pictures(images), max_bad_records=1, workers=1) as loader:
        take(loader, 3)
        assert loader.bad_records == 1
    for transform in (ToPixels, ToEncoded):
        options = {"image_size": 8, "channels": 1, "augment": PLAIN, "seed": 0}
        transform(**options)(images[0], 0)
        with pytest.raises(ImageError, match="70000 x 70000 pixels"):
            transform(**options)(images[6], 0)
        with pytest.raises(ImageError, match="12 x 12 pixels by its header: images may have 143"):
            transform(**options, max_pixels=143)(images[0], 0)
    error, _ = read_until_error(Pictures(images), 0, max_pixels=100)
    assert "images may have 100" in str(error)


def test_an_error_that_is_not_ours_keeps_its_traceback(pictures):
    error, _ = read_until_error(Trouble(pictures.images, bad=6, kind="os"), 1)
    assert 'raise OSError("device gone")' in error.__notes__[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_records_are_replaced_by_the_next_good_one_counted_and_named(pictures, caplog, workers):
    images = list(pictures.images)
    images[6] = images[7] = b"not an image"
    with build(Pictures(images), workers=workers, max_bad_records=2) as loader:
        batches = take(loader, 9)  # three epochs
        assert loader.bad_records == 2
    good = joined(take(build(pictures), 9))
    pairs = [
        pair for batch in islice(BatchSampler(Shuffled(11, seed=1), global_batch=4), 9) for pair in batch
    ]
    for place, (index, _) in enumerate(pairs):
        taken = 8 if index in (6, 7) else index
        assert batches[place // 4][1][place % 4] == taken % 5
        if taken == index:
            assert torch.equal(batches[place // 4][0][place % 4], good[0][place])
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 2, "each once, however often it comes up"
    for index in (6, 7):
        assert any(f"replaced: pictures/{index}.png: no JPEG, PNG, BMP" in line for line in warned)


@pytest.mark.parametrize("kind", ["image", "record"])
def test_one_bad_record_more_than_allowed_ends_the_run(pictures, kind):
    source = Trouble(pictures.images, bad=6, kind=kind)
    source.images = list(source.images)
    source.images[8] = b"not an image"
    error, loader = read_until_error(source, 0, max_bad_records=1)
    assert isinstance(error, ImageError | RecordError)
    assert re.search(r"pictures/[68]\.png: .*; max_bad_records is 1, and that many were skipped", str(error))
    assert loader.bad_records == 1


def test_a_replacement_is_looked_for_no_further_than_the_limit():
    error, _ = read_until_error(Pictures([b"not an image"] * 11), 0, max_bad_records=3)
    assert type(error) is ImageError
    assert "max_bad_records is 3" in str(error)


@pytest.mark.parametrize(("kind", "expected"), [("label", LabelError), ("os", DataError)])
def test_a_wrong_label_or_a_failing_disk_is_never_skipped(pictures, kind, expected):
    error, loader = read_until_error(
        Trouble(pictures.images, bad=6, kind=kind, label=7), 0, max_bad_records=5
    )
    assert type(error) is expected
    assert loader.bad_records == 0


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("label", [-1, 5, 2**40])
def test_a_label_out_of_range_is_named(pictures, workers, label):
    error, _ = read_until_error(Trouble(pictures.images, bad=3, kind="label", label=label), workers)
    assert type(error) is LabelError
    rule = f"label {label} at pictures/3.png: num_classes is 5, so labels must be 0..4; make room for it"
    assert str(error).startswith(rule)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_is_cut_while_it_is_read_is_an_error_not_a_signal(tmp_path, workers):
    shutil.copytree(MXNET, tmp_path, dirs_exist_ok=True)
    with build(open_source(tmp_path / "train.rec"), workers=workers, max_bad_records=3) as loader:
        next(loader)
        os.truncate(tmp_path / "train.rec", 1000)
        with pytest.raises(RecordError, match=rf"^{tmp_path}/train\.rec record \d+ at byte .* cut short"):
            take(loader, 100)


def test_an_index_of_another_file_is_never_skipped_as_a_bad_record(tmp_path):
    """Found late, because the file was exchanged after it was opened."""
    samples = [(bytes([n]) * (10 + n % 2 * 4), 0) for n in range(20)]
    write_source(tmp_path / "a.rec", samples, num_classes=1, image_size=(8, 8))
    source = open_source(tmp_path / "a.rec")
    write_source(tmp_path / "b.rec", samples[::-1], num_classes=1, image_size=(8, 8))
    (tmp_path / "b.rec").rename(tmp_path / "a.rec")
    with pytest.raises(RecordIndexError, match="delete it"):
        take(build(pickle.loads(pickle.dumps(source)), max_bad_records=20), 20)
