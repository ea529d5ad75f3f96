"""What goes wrong with one rank's data ends every rank, with the same error, which says where."""

import re

import numpy as np
import pytest

import partialfc
from partialfc.data.images.codec import encode_png
from partialfc.distributed import World
from tests.train_cases import PER_CLASS, SIZE, small_config, write_class_records
from tests.training.cases import run

CLASSES = 4
IMAGE = encode_png(np.full((SIZE, SIZE, 1), 99, np.uint8))


def write(path, changes):
    """A .rec of CLASSES x PER_CLASS images, whose class records say that all is well.

    changes: by key, from 1, the label and the bytes of an image.
    """
    keys = range(1, CLASSES * PER_CLASS + 1)
    images = [changes.get(key, ((key - 1) // PER_CLASS, IMAGE)) for key in keys]
    write_class_records(path, images, classes=CLASSES)


def outcome(rank_outcomes, folder, changes, **data):
    """The error of every one of two ranks, which must be the same; an epoch is one step."""
    write(folder / "train.rec", changes)
    config = small_config(
        folder, train={"steps": 3}, schedule={"warmup_steps": 0}, data=data, run={"dir": str(folder / "run")}
    )
    first, second = rank_outcomes(run, 2, config)
    assert type(first) is type(second), (first, second)
    assert str(first) == str(second)
    return first


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_label(rank_outcomes, tmp_path, workers):
    error = outcome(rank_outcomes, tmp_path, {5: (700, IMAGE)}, workers=workers)
    assert isinstance(error, partialfc.LabelError)
    assert re.match(rf"rank [01]: label 700 at {tmp_path}/train\.rec.*: num_classes is {CLASSES}", str(error))


def test_a_bad_label_on_both_ranks(rank_outcomes, tmp_path):
    """Then no rank has a sample, and the first rank's error is every rank's."""
    everywhere = dict.fromkeys(range(1, CLASSES * PER_CLASS), (700, IMAGE))  # the last shows their number
    error = outcome(rank_outcomes, tmp_path, everywhere)
    assert isinstance(error, partialfc.LabelError)
    assert str(error).startswith("rank 0: label 700 at ")  # another record than that of rank 1


def test_an_image_that_cannot_be_decoded(rank_outcomes, tmp_path):
    error = outcome(rank_outcomes, tmp_path, {5: (0, b"not an image")})
    assert isinstance(error, partialfc.ImageError)
    assert re.match(rf"rank [01]: {tmp_path}/train\.rec record 5: no JPEG", str(error))


def test_one_bad_image_more_than_allowed(rank_outcomes, tmp_path):
    error = outcome(rank_outcomes, tmp_path, dict.fromkeys(range(1, 10), (0, b"no")), max_bad_records=1)
    assert isinstance(error, partialfc.ImageError)
    assert "max_bad_records is 1" in str(error)


def test_a_damaged_record(rank_outcomes, tmp_path):
    path = tmp_path / "train.rec"
    write(path, {})
    offset = int((tmp_path / "train.idx").read_text().splitlines()[7].split()[1])
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + 4] = b"\0\0\0\0"
    config = small_config(tmp_path, train={"steps": 3}, schedule={"warmup_steps": 0})
    path.write_bytes(damaged)
    first, second = rank_outcomes(run, 2, config)
    assert isinstance(first, partialfc.DataError)
    assert str(first) == str(second)
    assert re.match(rf"rank [01]: {path} record 7 .* starts with 0x00000000", str(first))


def test_data_that_one_rank_cannot_open(rank_outcomes, tmp_path):
    """As where a node of several has not mounted the disk."""
    write(tmp_path / "train.rec", {})
    folders = [tmp_path / "train.rec", tmp_path / "nowhere"]
    first, second = rank_outcomes(run_on, 2, tmp_path, [str(path) for path in folders])
    assert isinstance(first, partialfc.ConfigError)
    assert str(first) == str(second)
    assert str(first).startswith(f"rank 1: data.train is {folders[1]}, which does not exist")
    first, second = rank_outcomes(run_on, 2, tmp_path, [str(folders[1])] * 2)
    assert str(first) == str(second)
    assert str(first).startswith("data.train is ")  # no rank's alone


def run_on(folder, paths):
    return run(small_config(folder, data={"train": paths[World.of().rank]}))
