"""What the data and the ranks cannot do is refused before training."""

import pytest
import torch

import partialfc
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.training.loop import Trainer
from tests.train_cases import small_config
from tests.training.cases import run


def test_more_folds_than_pairs_are_refused_before_training(folder):
    pairs = make_pairs(open_source(folder / "train.rec"), pairs=20, seed=0)
    write_pairs(folder / "pairs.bin", pairs)
    sets = {"sets": {"few": str(folder / "pairs.bin")}, "folds": 21}
    with pytest.raises(partialfc.ConfigError, match=r"folds is 21, but the set 'few' has 20 pairs"):
        Trainer(small_config(folder, verification=sets), torch.device("cpu"))


def test_centres_that_no_memory_holds_are_refused(folder):
    config = small_config(folder, data={"num_classes": 10**12})
    with pytest.raises(
        partialfc.ConfigError, match=r"num_classes is 1,000,000,000,000: centres of .* do not"
    ):
        Trainer(config, torch.device("cpu"))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            {"milestone_steps": [2], "warmup_steps": 3},
            "milestone is step 2, within the 3 steps of the warm-up",
        ),
        (
            {"milestone_epochs": [1.0, 1.1, 1.2], "warmup_steps": 1},  # an epoch has 5 steps
            r"come to the steps \[5, 6, 6\]",
        ),
    ],
)
def test_milestones_that_no_step_can_keep_are_refused(folder, schedule, message):
    schedule = {"name": "step", **schedule}
    with pytest.raises(partialfc.ConfigError, match=message):
        Trainer(small_config(folder, schedule=schedule), torch.device("cpu"))


def test_a_batch_of_one_cannot_be_normalised(folder):
    config = small_config(folder, train={"batch_size": 1}, backbone={"name": "convnet"})
    with pytest.raises(partialfc.ConfigError, match=r"batch_size is 1 on 1 ranks.* at least 2 are needed"):
        Trainer(config, torch.device("cpu"))


def test_more_ranks_than_samples_are_refused(rank_outcomes, folder):
    for outcome in rank_outcomes(run, 3, small_config(folder, train={"batch_size": 2})):
        assert "train.batch_size is 2, but there are 3 ranks" in str(outcome)
