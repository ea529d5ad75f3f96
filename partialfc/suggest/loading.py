"""Rules for what becomes of the images: augmentation, the order of samples, worker processes."""

from typing import Any

from partialfc.suggest.choice import Choice
from partialfc.suggest.network import SMALL

FEW = 5  # images a class


def augment(side: int, *, grey: bool) -> Choice:
    """side: of the typical image in pixels; grey: whether the images have no colour."""
    moves: dict[str, Any] = {"shift": 0.06, "scale": 0.1, "rotate": 8}
    if grey and side <= SMALL:
        return Choice(
            moves,
            "Small moves only: small grey images are most often characters or signs, and a mirrored b is a "
            "d. Set flip: true where left and right do not matter.",
        )
    colour = {} if grey else {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
    return Choice(
        {"flip": True, **moves, **colour},
        "Mirrored half of the time, moved and lit differently. Set flip: false where left and right "
        "differ, as in text and road signs; leave the colours alone where shades tell classes apart; faces "
        "that were aligned need only flip: true.",
    )


def sampler() -> Choice:
    return Choice(
        "shuffle",
        "Every image once an epoch. For losses on pairs and triplets (losses: ...) take identities, with "
        "images_per_identity: 4.",
    )


def workers(side: int, *, cores: int, ranks: int, accelerator: bool) -> Choice:
    """Of a rank. side: of the typical image in pixels; cores: that these ranks share."""
    if accelerator:
        each = min(8, max(1, cores // ranks - 1))
        return Choice(
            each, "Processes of a rank that decode, so that the accelerator need not wait for images; "
            "partialfc doctor says whether they are enough.",
        )  # fmt: skip
    if side <= 4 * SMALL or cores <= 2:
        return Choice(
            0, "The training process reads images itself, as the cores are busy computing. Where partialfc "
            "doctor says that steps wait for images, take 1 or 2.",
        )  # fmt: skip
    return Choice(min(2, cores // 4 or 1), "Processes that decode large images while the others compute.")
