"""The nearest other classes, and margins by chance."""

import torch

from partialfc.cleaning import nearest
from partialfc.cleaning.nearest import chance_margins, nearest_others
from partialfc.cleaning.references import mean_references
from tests.cleaning.cases import flipped


def test_the_two_nearest_other_classes_are_exact_in_tiles(monkeypatch):
    case = flipped(0.1, classes=23, per_class=3)
    means = mean_references(case.rows, case.given, 25)  # classes 23 and 24 have no image
    dense = case.rows.double() @ means.centres.double().T
    dense[:, 23:] = -2
    dense[torch.arange(69), case.given] = -2
    expected = dense.topk(2, 1)
    for rows, columns in ((2048, 16_384), (10, 4), (1, 1)):
        monkeypatch.setattr(nearest, "ROWS", rows)
        monkeypatch.setattr(nearest, "COLUMNS", columns)
        found = nearest_others(case.rows, case.given, means.centres)
        assert torch.equal(found.classes, expected.indices)
        torch.testing.assert_close(found.cosines.double(), expected.values, atol=1e-6, rtol=0)


def test_chance_margins_are_those_of_labels_that_are_neither_right_nor_nearest():
    case = flipped(0.0, classes=6, per_class=2)
    means = mean_references(case.rows, case.given, 6)
    others = nearest_others(case.rows, case.given, means.centres)
    found = chance_margins(case.rows, case.given, means.own, others, means.centres, seed=0)
    expected = []
    for index, row in enumerate(case.rows.float()):
        own, other = float(means.own[index]), float(others.cosines[index, 0])
        nearest_of_all = int(case.given[index]) if own > other else int(others.classes[index, 0])
        taken = {int(case.given[index]), nearest_of_all}
        expected += [float(row @ means.centres[c]) - max(own, other) for c in range(6) if c not in taken]
    torch.testing.assert_close(found, torch.tensor(expected).sort().values)
    assert found.max() <= 0
