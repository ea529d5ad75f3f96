"""What a plan is for: a head, its batch and its ranks."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from partialfc.errors import ConfigError
from partialfc.head.kernels.compiled import worth_compiling
from partialfc.head.sampling import sample_size
from partialfc.head.shard import chunk_range

ITEM_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int8": 1, "none": 0}
CHOICES = {
    "weight_dtype": ("float32", "float64", "bfloat16"),
    "compute_dtype": ("float32", "float64", "bfloat16"),
    "momentum_dtype": ("float32", "float64", "bfloat16", "int8", "none"),
    "gather_dtype": ("bfloat16", "float16"),
    "optimizer": ("sgd", "adamw"),
    "unsampled": ("dense", "frozen"),
    "device": ("cuda", "cpu"),
}
LOSSES = (
    "center",
    "center_of_head",
    "contrastive",
    "angular_contrastive",
    "triplet_all",
    "triplet_hard",
    "triplet_semihard",
)
MAY_BE_NONE = ("momentum_dtype", "gather_dtype", "unsampled")
LARGEST = 10**15  # nothing overflows up to here, even where a picture looks further than the plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A head on `gpus` ranks (processes where device is "cpu"), and a step of `accumulation` micro-batches,
    each with `batch` samples per rank.

    None means what null means in the config. momentum_dtype: float32, or float64 where compute_dtype is
    float64 ("none" is SGD without momentum). gather_dtype: float32, as the backbone gives embeddings.
    unsampled: "dense" with sgd. compile: as the head decides from the size of a step. images_per_identity:
    labels are drawn one by one. staged: whether the sample rate is the largest that the run comes to. AdamW
    has two moments in place of the momentum, and its unsampled rows are always "frozen". losses: those beside
    the head, of LOSSES.

    Of the margin: sub_centers, those of each class; bias: whether each class has one; target_numbers: how
    many numbers all ranks are told of each sample's own class; has_bound: whether logits do, else ranks agree
    on the largest; reweights_negatives: whether it does, so that there is one more sum.

    Raises ConfigError, which names everything that is wrong.
    """

    classes: int
    embedding: int
    gpus: int
    batch: int
    sub_centers: int = 1
    bias: bool = False
    target_numbers: int = 1
    has_bound: bool = True
    reweights_negatives: bool = False
    sample_rate: float = 1.0
    weight_dtype: str = "float32"
    compute_dtype: str = "float32"
    momentum_dtype: str | None = None
    gather_dtype: str | None = None
    optimizer: str = "sgd"
    unsampled: str | None = None
    device: str = "cuda"
    accumulation: int = 1
    compile: bool | None = None
    images_per_identity: int | None = None
    losses: tuple[str, ...] = ()
    staged: bool = False

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ConfigError("\n".join(problems))

    def _problems(self) -> Iterator[str]:
        for name in ("classes", "embedding", "gpus", "batch", "accumulation", "sub_centers"):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
                yield f"{name} is {value!r}; it must be a whole number from 1 to {LARGEST:,}"
        each = self.images_per_identity
        if each is not None and (isinstance(each, bool) or not isinstance(each, int) or each < 1):
            yield f"images_per_identity is {each!r}; it must be a whole number of at least 1, or left out"
        for name in self.losses:
            if name not in LOSSES:
                yield f"losses has {name!r}; each must be {_one_of(LOSSES, or_nothing=False)}"
        if not 0.0 < self.sample_rate <= 1.0:
            yield f"sample_rate is {self.sample_rate!r}; it must be above 0 and at most 1"
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices and not (value is None and name in MAY_BE_NONE):
                yield f"{name} is {value!r}; it must be {_one_of(choices, or_nothing=name in MAY_BE_NONE)}"
        if self.optimizer == "adamw" and self.momentum_dtype is not None:
            yield (
                f"momentum_dtype is {self.momentum_dtype!r}, but optimizer adamw has moments of its own; "
                "leave it out, or take optimizer sgd"
            )
        if self.optimizer == "adamw" and self.unsampled == "dense":
            yield (
                "unsampled is 'dense', but optimizer adamw knows only 'frozen'; leave it out, or take "
                "optimizer sgd"
            )

    @property
    def local_classes(self) -> int:
        """C_l of the largest shard."""
        start, stop = chunk_range(self.classes, 0, self.gpus)
        return stop - start

    @property
    def samples(self) -> int:
        """N, the batch over all ranks."""
        return self.batch * self.gpus

    @property
    def row_size(self) -> int:
        """Numbers of a class's row, that of all its centres."""
        return self.embedding * self.sub_centers

    @property
    def lines(self) -> int:
        """Cosines of a class, with its own centres and all samples."""
        return self.samples * self.sub_centers

    @property
    def rows(self) -> int:
        """K: the rows of the sample, on average over steps, or the shard's positives where those are more.

        The number of positives is what N labels, drawn uniformly, hit on average; or so many identities.
        """
        hit = 1.0 - (1.0 - 1.0 / self.classes) ** self.samples if self.classes > 1 else 1.0
        if self.images_per_identity is not None:
            hit = min(1.0, self.samples / self.images_per_identity / self.classes)
        positives = math.ceil(self.local_classes * hit)
        return max(sample_size(self.local_classes, self.sample_rate), positives)

    @property
    def step_rows(self) -> int:
        """Rows that a step touches: each micro-batch draws K of them, so some are drawn more than once."""
        return round(self.local_classes * (1.0 - (1.0 - self.rows / self.local_classes) ** self.accumulation))

    @property
    def sampled(self) -> bool:
        return self.rows < self.local_classes

    @property
    def lazy(self) -> bool:
        """Whether rows that are not sampled in a step owe its movement, as with RowSGD(unsampled="dense")."""
        return self.optimizer == "sgd" and self.unsampled != "frozen"

    @property
    def compiled(self) -> bool:
        """Whether the head's element-wise parts are compiled."""
        if self.compile is not None:
            return self.compile
        numbers = sample_size(self.local_classes, self.sample_rate) * self.row_size
        return worth_compiling(numbers, narrow="bfloat16" in (self.weight_dtype, self.compute_dtype))

    @property
    def weight_bytes(self) -> int:
        return ITEM_BYTES[self.weight_dtype]

    @property
    def compute_bytes(self) -> int:
        return ITEM_BYTES[self.compute_dtype]

    @property
    def math_bytes(self) -> int:
        """Bytes of a number in norms, sums and the loss."""
        return 8 if self.compute_dtype == "float64" else 4

    @property
    def stored_momentum(self) -> str:
        if self.momentum_dtype is not None:
            return self.momentum_dtype
        return "float64" if self.compute_dtype == "float64" else "float32"

    @property
    def gather_bytes(self) -> int:
        return ITEM_BYTES[self.gather_dtype or "float32"]


def _one_of(choices: Sequence[str], *, or_nothing: bool) -> str:
    named = f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    return f"{named}, or left out" if or_nothing else named
