"""Classes that hold two identities: images that do not fit their class, but fit each other."""

from dataclasses import dataclass

from torch import Tensor

from partialfc.cleaning.references import mean_references, of_classes
from partialfc.cleaning.wrong_labels import WrongLabels

LEAST = 3  # images that make a second identity: two may agree by chance
AGREE = 1e-3  # the share that they have at most


@dataclass(frozen=True)
class Mixed:
    """A class id, and the indices of the images that are of another identity than most of the class."""

    class_id: int
    others: tuple[int, ...]


def find_mixed(rows: Tensor, labels: Tensor, num_classes: int, wrong: WrongLabels) -> list[Mixed]:
    """Unit embeddings [n, D] and class ids [n] -> the mixed classes, those with the most such images first.

    Of the images that `wrong` leaves out of a class, those agree that are as near to each other as images of
    a class are.
    """
    left_out = wrong.left_out.nonzero().flatten()
    if not len(left_out):
        return []
    among = mean_references(rows[left_out], labels[left_out], num_classes).own
    shares = wrong.share_of(among - wrong.nearest.cosines[left_out, 0])
    agreeing = left_out[shares <= AGREE]
    found = [
        Mixed(int(labels[agreeing[part[0]]]), tuple(agreeing[part].tolist()))
        for part in of_classes(labels[agreeing])
        if len(part) >= LEAST
    ]
    return sorted(found, key=lambda each: -len(each.others))
