"""What a user asks for, and the files that come of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Asked:
    """images: one source of labelled images, or several. path: of the config. run_dir: where its run will be.

    overrides: section.key=value, by which the rules for other keys go. hold_out: how many classes, 0 for
    none, None for as many as suit. overwrite: whether files that are there may go. ranks: those that will
    train; None: one for each accelerator of this machine, or one. sound: whether the images are trained on at
    once, so that one that cannot be used is an error.
    """

    images: tuple[str, ...]
    path: Path
    run_dir: str
    overrides: Sequence[str] = ()
    class_depth: int = 1
    hold_out: int | None = None
    seed: int = 0
    overwrite: bool = False
    ranks: int | None = None
    sound: bool = False

    @property
    def told(self) -> str:
        """The images as a user writes them."""
        return " ".join(self.images)

    @property
    def keys(self) -> Path:
        """The file of keys of held-out images."""
        return self.path.with_suffix(".held-out.txt")

    @property
    def pairs(self) -> Path:
        return self.path.with_suffix(".pairs.bin")
