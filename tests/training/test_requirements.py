"""What the data and the ranks cannot do is refused before training."""

import numpy as np
import pytest
import torch

import partialfc
from partialfc.data.images.codec import encode_png
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import PairSet, write_pairs
from partialfc.data.sources.source import open_source
from partialfc.training.loop import Trainer
from tests.train_cases import small_config, write_class_records
from tests.training.cases import run


@pytest.mark.parametrize("folds", [11, 21])
def test_too_many_folds_are_refused_before_training(folder, folds):
    pairs = make_pairs(open_source(folder / "train.rec"), pairs=20, seed=0)
    write_pairs(folder / "pairs.bin", pairs)
    sets = {"sets": {"few": str(folder / "pairs.bin")}, "folds": folds}
    with pytest.raises(partialfc.ConfigError, match=rf"folds is {folds}, but the set 'few' has 20 pairs"):
        Trainer(small_config(folder, verification=sets), torch.device("cpu"))


def test_pairs_whose_images_do_not_decode_are_named_before_training(folder):
    """And not hours later, at the first verification; all at once."""
    pairs = make_pairs(open_source(folder / "train.rec"), pairs=20, seed=0)
    images = [b"", pairs.images[1][:-9], *pairs.images[2:]]
    write_pairs(folder / "pairs.bin", PairSet(images, pairs.same))
    sets = {"sets": {"mine": str(folder / "pairs.bin")}}
    with pytest.raises(partialfc.ImageError) as caught:
        Trainer(small_config(folder, "data.max_pixels=64", verification=sets), torch.device("cpu"))
    head, *lines = str(caught.value).splitlines()
    assert head.startswith("verification.sets.mine: ")
    assert head.endswith("pairs.bin: 2 of 40 images cannot be used:")
    assert [line.strip()[:30] for line in lines] == [
        "image 0 (pair 0): the file is ",
        "image 1 (pair 0): damaged imag",
    ]
    with pytest.raises(partialfc.ImageError, match="40 of 40 images"):
        Trainer(small_config(folder, "data.max_pixels=63", verification=sets), torch.device("cpu"))


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


@pytest.fixture
def gaps(folder):
    """The images of classes 0, 5 and 9 with a class record each and no property, as InsightFace's builder."""
    image = encode_png(np.zeros((8, 8, 3), np.uint8))
    images = [(label, image) for label in (0, 5, 9) for _ in range(4)]
    write_class_records(folder / "train.rec", images, classes=3)
    (folder / "property").unlink()
    return folder


@pytest.mark.parametrize("listed", [None, 3, 10])
@pytest.mark.parametrize("asked", [10, 12])
def test_num_classes_makes_room_for_labels_with_gaps(gaps, listed, asked):
    if listed:
        (gaps / "property").write_text(f"{listed},8,8\n")
    config = small_config(gaps, train={"steps": 4}, data={"num_classes": asked})
    trainer = Trainer(config, torch.device("cpu"))
    assert trainer.num_classes == asked
    with trainer.running():
        assert trainer.run()


def test_labels_beyond_the_number_of_classes_are_refused_before_training(gaps):
    """Without a property their number follows from the last label; with one that says less it cannot."""
    assert Trainer(small_config(gaps), torch.device("cpu")).num_classes == 10
    (gaps / "property").write_text("3,8,8\n")
    remedy = r"so labels must be 0\.\.{}; make room for it \(data\.num_classes\), or close gaps .*--relabel"
    for asked, room in ((None, 3), (9, 9)):
        message = f"label 9 at .*train.rec: num_classes is {room}, {remedy.format(room - 1)}"
        with pytest.raises(partialfc.LabelError, match=message):
            Trainer(small_config(gaps, data={"num_classes": asked}), torch.device("cpu"))


def test_a_label_that_is_seen_only_when_it_is_read_names_the_remedy(folder):
    """Class records vouch for the order of labels; here the largest is not the last."""
    image = encode_png(np.zeros((8, 8, 3), np.uint8))
    images = [(label, image) for label in (0, 0, 4, 4, 1, 1)]
    write_class_records(folder / "train.rec", images, classes=2)
    (folder / "property").unlink()
    config = small_config(folder, train={"batch_size": 6})
    trainer = Trainer(config, torch.device("cpu"))
    with pytest.raises(partialfc.LabelError, match=r"label 4 at .* num_classes is 2, .*--relabel"):
        next(trainer.loader)


def test_a_verification_set_that_cannot_be_read_is_named_by_its_key(folder):
    sets = {"sets": {"mine": str(folder / "nope.bin")}}
    with pytest.raises(partialfc.PairsError, match=r"^verification\.sets\.mine: .*nope\.bin: cannot be read"):
        Trainer(small_config(folder, verification=sets), torch.device("cpu"))
