"""What a plan of a class pool is for: the pool, its batch and its ranks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from partialfc.errors import ConfigError
from partialfc.head.kernels.compiled import worth_compiling
from partialfc.head.shard import chunk_range
from partialfc.plan.setting import CHOICES, ITEM_BYTES, LARGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSetting:
    """A class pool on `gpus` ranks, and a step of `accumulation` micro-batches, each with `batch` images per
    rank, of which a quarter is written to the pool and the rest classified.

    size: Q, the classes in the pool, of `classes`. gallery: bytes of the network that gives the features.
    hard_negatives: None as for DynamicClassPool. The rest as of `Setting`.

    Raises ConfigError, which names everything that is wrong.
    """

    size: int
    classes: int
    embedding: int
    gpus: int
    batch: int
    gallery: int = 0
    shard: bool = False
    hard_negatives: int | None = None
    sub_centers: int = 1
    target_numbers: int = 1
    has_bound: bool = True
    reweights_negatives: bool = False
    weight_dtype: str = "float32"
    compute_dtype: str = "float32"
    device: str = CHOICES["device"][0]
    accumulation: int = 1
    compile: bool | None = None

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ConfigError("\n".join(problems))

    def _problems(self) -> Iterator[str]:
        for name in ("size", "classes", "embedding", "gpus", "batch", "accumulation", "sub_centers"):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
                yield f"{name} is {value!r}; it must be a whole number from 1 to {LARGEST:,}"
        for name in ("weight_dtype", "compute_dtype", "device"):
            if (value := getattr(self, name)) not in CHOICES[name]:
                yield f"{name} is {value!r}; it must be one of {', '.join(CHOICES[name])}"

    @property
    def local_size(self) -> int:
        """Q_l of the largest shard, or Q where each rank has all of the pool."""
        start, stop = chunk_range(self.size, 0, self.gpus if self.shard else 1)
        return stop - start

    @property
    def together(self) -> bool:
        """Whether the ranks compute each sample's loss together, each with its rows."""
        return self.shard and self.gpus > 1

    @property
    def samples(self) -> int:
        """N, the classified images whose loss this rank computes, or has a part in."""
        return (self.batch - self.written) * (self.gpus if self.together else 1)

    @property
    def written(self) -> int:
        """The images of this rank that become features."""
        return self.batch // 4

    @property
    def inside(self) -> int:
        """How many of N have their class in the pool: identities', and others' as often as by chance."""
        identities = self.samples // 3
        return identities + round((self.samples - identities) * self.size / self.classes)

    @property
    def nearest(self) -> int:
        """The classes of the pool that push a sample whose own is not in it."""
        usual = min(max(self.size // 5000, 3), 10, self.size)
        return usual if self.hard_negatives is None else self.hard_negatives

    @property
    def math_bytes(self) -> int:
        return 8 if self.compute_dtype == "float64" else 4

    @property
    def compute_bytes(self) -> int:
        return ITEM_BYTES[self.compute_dtype]

    @property
    def row_size(self) -> int:
        return self.embedding * self.sub_centers

    @property
    def compiled(self) -> bool:
        if self.compile is not None:
            return self.compile
        narrow = "bfloat16" in (self.weight_dtype, self.compute_dtype)
        return worth_compiling(self.local_size * self.row_size, narrow=narrow)
