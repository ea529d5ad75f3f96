"""Classes of one identity, and classes of two."""

import torch

from partialfc.cleaning.findings import find_all
from tests.cleaning.cases import directions, flipped, images_of


def test_a_class_under_two_ids_is_found():
    case = flipped(0.1, classes=200)
    given = case.given.clone()
    for number in range(10):  # every other image of classes 0..9 gets an id of its own
        given[(case.given == number).nonzero().flatten()[::2]] = 200 + number
    found = find_all(case.rows, given, 210).duplicates
    pairs = {(pair.first, pair.second) for pair in found}
    expected = {(number, 200 + number) for number in range(10)}
    assert len(pairs & expected) >= 8
    assert len(pairs - expected) <= 1
    assert found == sorted(found, key=lambda pair: -pair.gap)


def test_different_classes_are_not_taken_for_one():
    case = flipped(0.0, classes=100)
    assert not find_all(case.rows, case.given, 100).duplicates


def test_a_class_of_two_identities_is_found_with_its_images():
    case = flipped(0.1, classes=200)
    given = case.given.clone()
    for number in range(10):  # half of each of these becomes a part of another class, one has four images
        given[(given == 100 + number) & (torch.arange(len(given)) % 2 == 0)] = number
    found = find_all(case.rows, given, 200).mixed
    assert {each.class_id for each in found} == set(range(10))
    for each in found:
        moved = case.true[list(each.others)] == 100 + each.class_id
        assert float(moved.float().mean()) > 0.9


def test_wrong_labels_that_are_not_alike_make_no_second_identity():
    case = flipped(0.3)
    assert not find_all(case.rows, case.given, 300).mixed


def test_few_classes_have_no_duplicates():
    rows = images_of(directions(3), torch.tensor([0, 0, 1, 1, 2, 2]))
    assert find_all(rows, torch.tensor([0, 0, 1, 1, 2, 2]), 3).duplicates == []
