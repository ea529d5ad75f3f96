"""Batches of identities: are there enough, with enough images?"""

from pathlib import Path

import numpy as np
import pytest

from partialfc.doctor import Level
from partialfc.doctor.identities import judge_identities
from partialfc.doctor.labels import Labels
from partialfc.errors import ConfigError
from tests.doctor.cases import found, quick
from tests.doctor.data_cases import trains

BATCHES = ("data.sampler=identities", "data.images_per_identity=3")


def test_enough_identities_are_green(folder: Path) -> None:
    check = found(quick(folder, *BATCHES), "identities")
    assert check.level == Level.GREEN
    assert check.says == "8 of 20 in a batch, 3 images each; 0 have fewer images, which repeat"


def test_without_the_sampler_there_is_no_such_check(folder: Path) -> None:
    assert "identities" not in [each.check.name for each in quick(folder).findings]


def test_too_few_are_red_and_the_remedy_works(folder: Path) -> None:
    check = found(quick(folder, *BATCHES, "train.batch_size=66"), "identities")
    assert check.level == Level.RED
    assert "a batch of 66 with 3 images each needs 22, and all 120 images show 20" in check.says
    assert "lower train.batch_size to 60 or less" in check.remedy
    assert found(quick(folder, *BATCHES, "train.batch_size=60"), "identities").level == Level.GREEN
    trains(folder, *BATCHES)
    with pytest.raises(ConfigError, match="needs 3 identities, and the data has images of 2"):
        trains_with_few_classes(folder)


def trains_with_few_classes(folder: Path) -> None:
    """data_cases.trains reads batches of 6."""
    from tests import train_cases

    train_cases.write_data(folder / "few", classes=2)
    trains(
        folder, "data.sampler=identities", "data.images_per_identity=2", f"data.train={folder}/few/train.rec"
    )


@pytest.mark.parametrize(
    ("sizes", "complete", "level", "says"),
    [
        ([6] * 20, True, Level.GREEN, "4 of 20 in a batch, 3 images each; 0 have fewer"),
        ([6] * 19 + [2], True, Level.GREEN, "1 have fewer images, which repeat"),
        ([6] * 10 + [2] * 10, True, Level.YELLOW, "10 have fewer images, which repeat"),
        (
            [100] + [6] * 19,
            True,
            Level.YELLOW,
            "the largest has 100 of 214 images: it is in every batch, and 62",
        ),
        ([6] * 3, True, Level.RED, "needs 4, and all 18 images show 3"),
        ([6] * 3, False, Level.YELLOW, "needs 4, and the first 18 images show 3"),
        ([100] + [6] * 19, False, Level.GREEN, "4 of 20 in a batch"),
    ],
    ids=["even", "one small", "many small", "one large", "too few", "too few so far", "not all read"],
)
def test_sizes_decide(sizes: list[int], complete: bool, level: Level, says: str) -> None:
    labels = Labels(np.repeat(np.arange(len(sizes)), sizes).astype(float), complete)
    check = judge_identities(labels, len(sizes), batch=12, each=3)
    assert check.level == level
    assert says in check.says
    assert (check.level == Level.GREEN) == (not check.remedy)
