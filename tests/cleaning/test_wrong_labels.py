"""Wrong labels are found, and as surely as is said."""

import pytest
import torch

from partialfc.cleaning.findings import find_all
from partialfc.errors import DataError
from tests.cleaning.cases import directions, flipped, images_of


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_nearly_all_are_found_at_the_precision_that_is_asked_for(share):
    case = flipped(share)
    for precision, recall in ((0.9, 0.9), (0.95, 0.9)):
        found = find_all(case.rows, case.given, 300, precision=precision).wrong
        left_out = found.left_out
        assert found.noise == pytest.approx(share, rel=0.1)
        assert found.precision >= precision
        assert float(case.wrong[left_out].float().mean()) > precision - 0.03
        assert float((left_out & case.wrong).sum() / case.wrong.sum()) > recall
        assert found.recall > recall


def test_where_all_labels_are_right_almost_nothing_is_left_out():
    case = flipped(0.0)
    found = find_all(case.rows, case.given, 300).wrong
    assert found.noise < 0.005
    assert int(found.left_out.sum()) < 0.005 * len(case.given)


def test_trained_centres_do_as_well():
    case = flipped(0.2)
    found = find_all(case.rows, case.given, 300, centres=directions(300)).wrong
    assert float(case.wrong[found.left_out].float().mean()) > 0.92
    assert float((found.left_out & case.wrong).sum() / case.wrong.sum()) > 0.9


def test_images_that_nobody_can_judge_are_told_and_kept():
    """An image alone in its class, and two of a class that are nothing alike."""
    case = flipped(0.1, classes=100)
    centres = directions(103, seed=5)
    rows = torch.cat([case.rows, images_of(centres, torch.tensor([100, 101, 102]))])
    given = torch.cat([case.given, torch.tensor([100, 101, 101])])
    found = find_all(rows, given, 102).wrong
    assert found.margins.isnan().nonzero().flatten().tolist() == [len(rows) - 3]
    assert found.disputed.nonzero().flatten().tolist() == [len(rows) - 2, len(rows) - 1]
    assert not found.left_out[-3:].any()
    assert found.probabilities[-3:].isnan().all()
    assert found.probabilities[:-3].isfinite().all()


def test_the_nearest_class_of_a_wrong_label_is_the_right_one():
    case = flipped(0.2)
    found = find_all(case.rows, case.given, 300).wrong
    right = found.nearest.classes[case.wrong, 0] == case.true[case.wrong]
    assert float(right.float().mean()) > 0.95


def test_the_same_seed_gives_the_same_answer():
    case = flipped(0.2, classes=50)
    once, again = (find_all(case.rows, case.given, 50, seed=3).wrong for _ in range(2))
    assert torch.equal(once.shares, again.shares)
    assert torch.equal(once.left_out, again.left_out)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 0, 1, 1], "^faces: 4 images of 2 classes; .* of which 3 are needed at least"),
        ([0, 1, 2, 3], "^faces: none of the 4 classes has two images"),
        ([0, 1, 2, 0, 1, 2], "^faces: in none of the 3 classes do two images agree"),
    ],
    ids=["two classes", "one image each", "nothing fits"],
)
def test_what_cannot_be_judged_is_refused(labels, says):
    rows = torch.eye(len(labels)).half()  # no image is like another one
    with pytest.raises(DataError, match=says):
        find_all(rows, torch.tensor(labels), 4, origin="faces")
