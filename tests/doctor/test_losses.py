"""Losses on pairs and triplets: the doctor tells of batches that have none, as training does."""

import logging

import pytest
import torch

from partialfc.doctor import Level
from partialfc.training.loop import Trainer
from tests import train_cases
from tests.doctor.cases import found, quick

TRIPLET = "losses=[{name: triplet, weight: 1}]"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["train.batch_size=4"], "two samples of one class, and a random batch of 4 images of 20 classes"),
        (["train.batch_size=1"], "train.batch_size is 1, so no batch has two"),
        (
            ["data.sampler=identities", "data.images_per_identity=1", "train.batch_size=20"],
            "_identity is 1, so",
        ),
        (["data.sampler=identities", "data.images_per_identity=24"], "two classes, and data.images_per_id"),
        (["data.sampler=identities", "data.images_per_identity=6"], ""),
        ([], ""),
    ],
    ids=["few", "one image", "one of each", "one identity", "pairs", "all classes"],
)
def test_batches_without_pairs_are_yellow_and_warned_of(folder, caplog, overrides, says):
    check = found(quick(folder, TRIPLET, *overrides), "losses")
    assert (check.level, says in check.says) == (Level.YELLOW if says else Level.GREEN, True), check
    Trainer(train_cases.small_config(folder, TRIPLET, *overrides), torch.device("cpu")).loader.close()
    told = [each.message for each in caplog.records if each.message.startswith("losses: ")]
    assert told == ([f"losses: {check.says}: {check.remedy}"] if says else [])
    assert all(each.levelno == logging.WARNING for each in caplog.records if each.message in told)


def test_other_runs_have_no_such_check(folder):
    assert "losses" not in [each.check.name for each in quick(folder).findings]
    assert found(quick(folder, "losses=[{name: center, weight: 1}]"), "losses").level == Level.GREEN
