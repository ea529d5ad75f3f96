"""Rules for the network and its input: how large, how many channels, which backbone."""

from dataclasses import dataclass, field
from typing import Any

from partialfc.suggest.choice import Choice

SMALL = 40  # pixels: images up to this side are small ones, of characters, icons or signs


@dataclass(frozen=True, slots=True)
class Network:
    """A row of the table: what suits images with a side of up to `side` and data of up to `images` images.

    batch: images that a rank takes at a time. lr: learning rate for a global batch of `lr_batch`; other
    batches in proportion. schedule: of the learning rate. seconds of a step are known for none: `partialfc
    doctor` measures.
    """

    side: int
    images: int
    name: str
    size: int
    embedding: int
    batch: int
    lr: float
    lr_batch: int
    schedule: dict[str, Any]
    why: str
    options: dict[str, Any] = field(default_factory=dict)


ANY = 1 << 62
COSINE = {"name": "cosine"}
POLYNOMIAL = {"name": "polynomial", "power": 2.0}
ON_CPU = (
    Network(SMALL, ANY, "convnet", 24, 128, 128, 0.2, 128, COSINE, "made for small images on a CPU"),
    Network(
        ANY, ANY, "convnet", 48, 128, 128, 0.2, 128, COSINE,
        "what a CPU trains in minutes to hours; mobilefacenet at 112 learns more in ten times the time",
        options={"widths": [32, 64, 128], "blocks": [1, 1, 1]},
    ),
)  # fmt: skip
ON_ACCELERATOR = (
    Network(SMALL, ANY, "convnet", 32, 128, 256, 0.1, 128, COSINE, "made for small images"),
    Network(
        ANY, 100_000, "iresnet18", 112, 256, 128, 0.1, 1024, POLYNOMIAL,
        "the smallest of its family: with few images a larger one learns them by heart",
    ),
    Network(
        ANY, 2_000_000, "iresnet50", 112, 512, 128, 0.1, 1024, POLYNOMIAL,
        "the usual one for some million images; iresnet100 gains a little for twice the time",
    ),
    Network(
        ANY, ANY, "iresnet100", 112, 512, 128, 0.1, 1024, POLYNOMIAL,
        "the usual one for many million images; iresnet50 takes half the time and loses a little",
    ),
)  # fmt: skip


def network_for(side: int, images: int, *, accelerator: bool) -> Network:
    """side: of the typical image in pixels; images: how many there are."""
    table = ON_ACCELERATOR if accelerator else ON_CPU
    return next(row for row in table if side <= row.side and images <= row.images)


def input_size(side: int, sides: tuple[int, int], network: Network) -> Choice:
    """side: of the typical image; sides: the smallest and the largest."""
    mixed = "" if sides[0] == sides[1] else f", {sides[0]} to {sides[1]}"
    why = f"Every image becomes so many pixels high and wide; the typical one has {side}{mixed}."
    if side < network.size:
        why += " Enlarging adds no detail, but the network needs the room."
    return Choice(
        network.size,
        f"{why} Larger shows finer detail, and costs time with its square; take a multiple of 8.",
    )


def channels(*, grey: bool, some_grey: bool) -> Choice:
    """grey: whether all images that were looked at have no colour; some_grey: whether any has none."""
    if grey:
        return Choice(1, "The images have no colour. 3 is for colour.")
    mixed = " Some have no colour: those get three equal channels." if some_grey else ""
    return Choice(3, f"The images have colour.{mixed} Take 1 where colour must not count.")


def backbone(network: Network) -> dict[str, Choice]:
    """The keys of the section backbone."""
    found = {
        "name": Choice(
            network.name,
            f"{network.why[0].upper()}{network.why[1:]}. `partialfc backbones` lists the others.",
        ),
        "embedding_size": Choice(
            network.embedding,
            "Numbers of an embedding. More for more classes: 128 to some ten thousand, 512 for millions.",
        ),
    }
    if network.options:
        found["options"] = Choice(
            network.options, "Channels and blocks of each stage, which halves the image."
        )
    found["channels_last"] = Choice(True, "The memory order that convolutions are fastest in.")
    return found
