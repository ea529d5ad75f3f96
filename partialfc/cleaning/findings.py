"""All that is found wrong with the labels of a set of images, in one go."""

from dataclasses import dataclass

import torch
from torch import Tensor

from partialfc.cleaning.duplicates import Duplicate, find_duplicates
from partialfc.cleaning.mixed import Mixed, find_mixed
from partialfc.cleaning.nearest import nearest_others
from partialfc.cleaning.references import mean_references, trained_references
from partialfc.cleaning.wrong_labels import WrongLabels, find_wrong_labels


@dataclass(frozen=True, eq=False)
class Findings:
    """own [n]: the cosine of each image to its class, NaN where it has no other image."""

    own: Tensor
    wrong: WrongLabels
    duplicates: list[Duplicate]
    mixed: list[Mixed]


def find_all(
    rows: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    centres: Tensor | None = None,
    precision: float = 0.97,
    seed: int = 0,
    device: torch.device | None = None,
    origin: str = "the images",
) -> Findings:
    """Unit embeddings [n, D] and class ids [n] -> wrong labels, duplicate classes and mixed classes.

    centres: trained ones, [num_classes, D] or [num_classes, K, D], to compare images with in place of the
    means of their classes. precision: that the images to leave out shall have, at least. origin: what the
    images are called in an error.

    Raises DataError as `find_wrong_labels` does.
    """
    if centres is None:
        references = mean_references(rows, labels, num_classes)
    else:
        references = trained_references(rows, labels, centres)
    nearest = nearest_others(rows, labels, references.centres, device=device)
    wrong = find_wrong_labels(
        rows, labels, references, nearest, precision=precision, seed=seed, origin=origin
    )
    kept = ~wrong.left_out
    rows_kept, labels_kept = rows[kept], labels[kept]
    means = mean_references(rows_kept, labels_kept, num_classes)
    return Findings(
        own=references.own,
        wrong=wrong,
        duplicates=find_duplicates(rows_kept, labels_kept, means, seed=seed, device=device),
        mixed=find_mixed(rows, labels, num_classes, wrong),
    )
