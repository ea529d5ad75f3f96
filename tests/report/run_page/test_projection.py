"""Embeddings on a plane: the principal components of their directions."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from partialfc.report.run_page.projection import project


def test_principal_components_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 8)) * np.array([5, 3, 1, 1, 1, 1, 1, 1]) + 1
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = PCA(2)
    places = expected.fit_transform(units)
    found = project(7 * rows, "pca")  # norms do not count
    for axis in (0, 1):
        agree = np.abs(found.places[:, axis]) - np.abs(places[:, axis])
        assert np.abs(agree).max() < 1e-9
        assert f"{expected.explained_variance_ratio_[axis]:.0%} of the variance" in found.axes[axis]
        assert (found.places[:, axis] ** 3).sum() > 0


@pytest.mark.parametrize("rows", [np.ones((3, 1)), np.ones((2, 5)), np.eye(2)], ids=["line", "point", "two"])
def test_rows_without_two_directions_have_places_too(rows):
    assert np.isfinite(project(rows, "pca").places).all()


def test_tsne_keeps_groups_together():
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(size=(20, 6)) * 0.05 + np.eye(6)[place] for place in (0, 1)])
    places = project(rows, "tsne").places
    first, second = places[:20], places[20:]
    between = np.linalg.norm(first.mean(0) - second.mean(0))
    assert between > max(each.std() for each in (first, second))
