"""Embeddings on a plane: the principal components of their directions."""

import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA

from partialfc.errors import MissingExtraError
from partialfc.report.run_page.projection import project, require_method


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


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize(
    "rows",
    [
        np.ones((3, 1)), np.ones((2, 5)), np.ones((1, 5)), np.eye(2), np.eye(3), np.eye(5), np.ones((80, 8)),
        np.zeros((9, 4)),
    ],
    ids=["line", "point", "one", "two", "three", "five", "collapsed", "zero"],
)  # fmt: skip
def test_rows_without_two_directions_have_places_too(rows, method):
    found = project(rows, method)
    assert found.places.shape == (len(rows), 2)
    assert np.isfinite(found.places).all()


def test_a_map_by_a_package_that_is_not_there_is_said(monkeypatch):
    require_method("tsne")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match="pip install scikit-learn, or take --map pca"):
        require_method("tsne")
    require_method("pca")


def test_tsne_keeps_groups_together():
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(size=(20, 6)) * 0.05 + np.eye(6)[place] for place in (0, 1)])
    places = project(rows, "tsne").places
    first, second = places[:20], places[20:]
    between = np.linalg.norm(first.mean(0) - second.mean(0))
    assert between > max(each.std() for each in (first, second))
