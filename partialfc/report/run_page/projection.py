"""Embeddings on a plane: by their principal components, or by t-SNE where scikit-learn is installed."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
import numpy.typing as npt

from partialfc.errors import MissingExtraError
from partialfc.report.run_page.quantiles import Floats

Method = Literal["pca", "tsne"]
SEED = 0
FEW = 4  # distinct rows below which there is nothing that neighbours could tell


@dataclass(frozen=True, eq=False)
class Projection:
    """places [n, 2], and the labels of both axes."""

    places: Floats
    axes: tuple[str, str]


def require_method(method: Method) -> None:
    """Before any work is done: MissingExtraError where tsne needs a package that is not there."""
    if method == "tsne" and find_spec("sklearn") is None:
        raise MissingExtraError(
            "--map tsne needs scikit-learn, which is not installed: pip install scikit-learn, or take "
            "--map pca"
        )


def project(rows: npt.NDArray[np.floating], method: Method) -> Projection:
    """Embeddings [n, D], finite -> places [n, 2] of their directions; n is at least 1.

    pca: the two directions in which they vary most, the first coordinate of each kept positive in sum of
    cubes, so that the same rows give the same picture. tsne: as `require_method` says whether it can be had;
    fewer than FEW distinct rows are drawn by their components.
    """
    units = np.asarray(rows, np.float64)
    units = units / np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-300)
    if method == "pca" or len(np.unique(units, axis=0)) < FEW:
        return _pca(units)
    return Projection(_tsne(units), ("t-SNE 1", "t-SNE 2"))


def _pca(units: Floats) -> Projection:
    centred = units - units.mean(0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(units), 2))
    found = left[:, :2] * singular[:2]
    places[:, : found.shape[1]] = found
    places *= np.where((places**3).sum(0) < 0, -1.0, 1.0)
    total = max(float((singular**2).sum()), 1e-300)
    shares = [float(each) ** 2 / total for each in [*singular[:2], 0.0, 0.0][:2]]
    first, second = (
        f"component {place}, {share:.0%} of the variance" for place, share in enumerate(shares, 1)
    )
    return Projection(places, (first, second))


def _tsne(units: Floats) -> Floats:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(units) - 1) / 3)
    drawn: Floats = TSNE(perplexity=perplexity, init="pca", random_state=SEED).fit_transform(units)
    return drawn.astype(np.float64)
