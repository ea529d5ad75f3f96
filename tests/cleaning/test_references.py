"""What images are compared with: means without themselves, and trained centres."""

import pytest
import torch
from torch.nn.functional import normalize

from partialfc.cleaning import references
from partialfc.cleaning.references import FLOOR, ROUNDS, mean_references, of_classes, trained_references
from tests.cleaning.cases import directions, flipped, images_of


def plain(rows, labels, num_classes):
    """The docstring in float64, an image at a time."""
    rows = rows.double()
    weights = torch.ones(len(rows), dtype=torch.float64)
    for label in range(num_classes):
        members = (labels == label).nonzero().flatten()
        if len(members) >= 3:
            near = (rows[members] @ rows[members].T).clamp(min=0)
            mode = members[near.pow(4).sum(1).argmax()]
            weights[members] = (rows[members] @ rows[mode]).clamp(min=FLOOR).square()
    own = torch.full((len(rows),), torch.nan, dtype=torch.float64)
    for _ in range(ROUNDS):
        for index, label in enumerate(labels.tolist()):
            others = [i for i in (labels == label).nonzero().flatten().tolist() if i != index]
            if others:
                own[index] = normalize((weights[others, None] * rows[others]).sum(0), dim=0) @ rows[index]
        weights = own.clamp(min=FLOOR).square()
    centres = torch.zeros(num_classes, rows.shape[1], dtype=torch.float64)
    centres.index_add_(0, labels, weights.nan_to_num(1.0)[:, None] * rows)
    return normalize(centres), own


def test_means_leave_the_image_out_and_equal_a_plain_loop():
    case = flipped(0.2, classes=9, per_class=6)
    labels = torch.where(torch.arange(54) == 0, 9, case.given)  # class 9 has one image, class 10 none
    found = mean_references(case.rows, labels, 11)
    centres, own = plain(case.rows, labels, 11)
    torch.testing.assert_close(found.own.double(), own, atol=2e-6, rtol=0, equal_nan=True)
    torch.testing.assert_close(found.centres.double(), centres, atol=2e-6, rtol=0)
    assert found.own.isnan().nonzero().flatten().tolist() == [0]
    assert not found.centres[10].any()


def test_means_do_not_depend_on_the_order_or_on_blocks(monkeypatch):
    case = flipped(0.2, classes=20, per_class=5)
    whole = mean_references(case.rows, case.given, 20)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(3))
    monkeypatch.setattr(references, "BLOCK", 7)
    monkeypatch.setattr(references, "GRAM", 8)
    parts = mean_references(case.rows[order], case.given[order], 20)
    torch.testing.assert_close(parts.own, whole.own[order], atol=1e-5, rtol=0)
    torch.testing.assert_close(parts.centres, whole.centres, atol=1e-5, rtol=0)


def test_of_a_class_with_two_identities_the_mean_is_the_larger_ones():
    """Half and half too, where a plain mean lies between the two."""
    centres = directions(2)
    for sizes in ((7, 5), (6, 6)):
        identities = torch.tensor([0] * sizes[0] + [1] * sizes[1])
        found = mean_references(images_of(centres, identities), torch.zeros(12, dtype=torch.int64), 1)
        cosines = (centres @ found.centres[0]).sort().values
        assert cosines[0] < 0.3
        assert cosines[1] > 0.9


def test_large_classes_look_for_their_mode_among_some_images(monkeypatch):
    monkeypatch.setattr(references, "GRAM", 10)
    centres = directions(2)
    identities = torch.tensor([0, 0, 0, 0, 1] * 20)
    found = mean_references(images_of(centres, identities), torch.zeros(100, dtype=torch.int64), 1)
    assert found.centres[0] @ centres[0] > 0.8
    assert found.centres[0] @ centres[1] < 0.4


def test_trained_centres_are_normalised():
    case = flipped(0.1, classes=10)
    centres = 3 * directions(10)
    found = trained_references(case.rows, case.given, centres)
    expected = (case.rows.float() * normalize(centres)[case.given]).sum(1)
    torch.testing.assert_close(found.own, expected)
    torch.testing.assert_close(found.centres, normalize(centres))


def test_of_sub_centres_the_one_most_images_are_near_to_stands_for_the_class():
    centres = directions(3)
    labels = torch.tensor([0, 0, 0, 1, 1])
    rows = images_of(centres, torch.tensor([0, 0, 2, 1, 1]))
    subs = torch.stack([torch.stack([centres[2], centres[0]]), torch.stack([centres[1], centres[2]])])
    found = trained_references(rows, labels, subs)
    torch.testing.assert_close(found.centres, centres[:2])
    torch.testing.assert_close(found.own[2], rows[2].float() @ centres[0])


@pytest.mark.parametrize("labels", [[2, 0, 2, 5], [], [1]], ids=["gaps", "none", "one"])
def test_the_images_of_each_class(labels):
    labels = torch.tensor(labels, dtype=torch.int64)
    found = [part.tolist() for part in of_classes(labels)]
    assert found == [(labels == each).nonzero().flatten().tolist() for each in sorted(set(labels.tolist()))]
