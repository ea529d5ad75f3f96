"""The section verification: on which pairs, when, and which set decides what is best."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from partialfc.config.periodic import Periodic
from partialfc.config.section import ConfigPath


class VerificationConfig(Periodic):
    """Verification on pairs of images during training. It also runs once at the end.

    Built by training/builders/verification.py, `build_verification`.
    """

    at_start: bool = Field(
        False,
        description="Verify once before training too, for the figures of the untrained backbone.",
    )
    sets: dict[str, ConfigPath] = Field(
        {},
        description="Pair files (.bin, or a list), each under the name that it has in logs and metrics.",
        examples=[{"lfw": "data/lfw.bin"}],
    )
    folds: int | None = Field(
        None,
        ge=2,
        description="Number of folds in which the threshold is cross-validated; each needs two pairs; null: "
        "the set's own, or 10.",
    )
    flip: Literal["none", "sum", "concat"] = Field(
        "none",
        description="The mirrored image's embedding is added to the image's own (sum, or true) or set behind "
        "it (concat), both as the network gives them; none, or false: it is not computed.",
    )
    amp: Literal["train", "auto", "bfloat16", "float16"] | None = Field(
        "train",
        description="Type that the network is autocast to: train: as train.amp says; the others as there. "
        "`partialfc evaluate` takes the same unless told otherwise.",
    )
    batch_size: int = Field(256, ge=1, description="Images per forward pass on a rank.")
    best: str | None = Field(
        None, description="The set whose score decides which checkpoint is best; null: the first."
    )

    @field_validator("flip", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """true and false are what earlier versions had."""
        return {True: "sum", False: "none"}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.best is not None and self.best not in self.sets:
            raise ValueError(f"best is {self.best!r}, but sets has {', '.join(self.sets) or 'no entry'}")
        return self

    @property
    def best_set(self) -> str | None:
        """The name of the set that decides which checkpoint is best; None without sets."""
        return next(iter(self.sets), None) if self.best is None else self.best
