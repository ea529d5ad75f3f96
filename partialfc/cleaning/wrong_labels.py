"""Images whose labels are likely wrong."""

from dataclasses import dataclass

import torch
from torch import Tensor

from partialfc.cleaning.mixture import Mixture, fit_mixture
from partialfc.cleaning.nearest import Nearest, chance_margins
from partialfc.cleaning.references import References
from partialfc.errors import DataError

LEAST_CLASSES = 3  # an image's own, and two that it may be nearest to
AGREE = 0.01  # an image with at most this share agrees with its class


@dataclass(frozen=True, eq=False)
class WrongLabels:
    """Of n images; NaN where an image's class has no other image.

    nearest: the other classes they are nearest to. chance: the margins of random wrong labels, rising.
    margins [n]: the cosine to the own class less that to the nearest other one. shares [n]: of random wrong
    labels that fit at least as well. probabilities [n]: how likely the label is wrong.
    left_out [n]: the images that are likely enough. disputed [n]: images of classes in which no two agree, so
    that nobody knows whose label is right; none of them is left out, or counted in the estimates.

    noise: the estimated share of wrong labels. threshold: the least share that is left out; None: none is.
    precision, recall: what is expected of `left_out`; None where it is empty.
    """

    nearest: Nearest
    chance: Tensor
    margins: Tensor
    shares: Tensor
    probabilities: Tensor
    left_out: Tensor
    disputed: Tensor
    noise: float
    threshold: float | None
    precision: float | None
    recall: float | None

    def share_of(self, margins: Tensor) -> Tensor:
        """Margins [m] -> the share of random wrong labels that fit as well; NaN of NaN."""
        return share_of(margins, self.chance)


def share_of(margins: Tensor, chance: Tensor) -> Tensor:
    """Margins [m] and chance margins, rising -> the share of the latter that are at least as large [m]."""
    shares = 1 - torch.searchsorted(chance, margins).float() / len(chance)
    return torch.where(margins.isnan(), torch.nan, shares)


def find_wrong_labels(
    rows: Tensor,
    labels: Tensor,
    references: References,
    nearest: Nearest,
    *,
    precision: float,
    seed: int = 0,
    origin: str = "the images",
) -> WrongLabels:
    """Unit embeddings [n, D] and class ids [n] -> the labels that are wrong, to a precision.

    precision: above 0 and below 1, the share of those to leave out whose labels should really be wrong. The
    estimates take wrong labels as drawn at random. A label of a class that looks like the right one fits
    better than that, and is found less often. origin: what the images are called in an error.

    Raises DataError where there are too few classes, or no class with two images.
    """
    classes = int(references.centres.any(1).sum())
    if classes < LEAST_CLASSES:
        raise DataError(
            f"{origin}: {len(rows)} images of {classes} classes; wrong labels are found by comparing "
            f"classes, of which {LEAST_CLASSES} are needed at least"
        )
    margins = references.own - nearest.cosines[:, 0]
    compared = ~margins.isnan()
    if not compared.any():
        raise DataError(
            f"{origin}: none of the {classes} classes has two images, so no image can be compared "
            "with its class"
        )
    chance = chance_margins(rows, labels, references.own, nearest, references.centres, seed=seed)
    shares = share_of(margins, chance)
    disputed = compared & _disputed(shares, labels, len(references.centres))
    judged = compared & ~disputed
    if not judged.any():
        raise DataError(
            f"{origin}: in none of the {classes} classes do two images agree: the network does not tell "
            "these classes apart, or hardly any label is right"
        )
    mixture = fit_mixture(shares[judged])
    threshold = mixture.threshold(precision)
    left_out = judged & (shares >= threshold) if threshold is not None else torch.zeros_like(judged)
    probabilities = mixture.probabilities(shares.nan_to_num(0.0))
    probabilities[~judged] = torch.nan
    expected = _expected(mixture, threshold, left_out)
    return WrongLabels(nearest, chance, margins, shares, probabilities, left_out, disputed, *expected)


def _expected(
    mixture: Mixture, threshold: float | None, left_out: Tensor
) -> tuple[float, float | None, float | None, float | None]:
    if threshold is None or not left_out.any():
        return mixture.wrong, None, None, None
    return mixture.wrong, threshold, mixture.precision_beyond(threshold), mixture.recall_beyond(threshold)


def _disputed(shares: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """[n], whether no image of the image's class agrees with it; NaN counts for nothing."""
    least = torch.full((num_classes,), 2.0)
    least.scatter_reduce_(0, labels, shares.nan_to_num(2.0), "amin")
    return least[labels] > AGREE
