"""Which classes a rank owns, and where a global label lies in its shard."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


def chunk_range(size: int, rank: int, world_size: int) -> tuple[int, int]:
    """The half-open range that torch.chunk gives to `rank`; empty at the tail when size < world_size."""
    step = -(-size // world_size)
    start = min(rank * step, size)
    return start, min(start + step, size)


@dataclass(frozen=True, slots=True)
class ClassShard:
    """The contiguous classes start..stop-1 of one rank, cut as torch.chunk and DTensor's Shard(0) cut.

    Its length is C_l, the number of these classes; 0 at the last ranks where there are too few classes.

    Args:
        num_classes (int): C, the classes of all ranks together; at least 1.
        rank (int): The rank whose classes these are, 0..world_size-1.
        world_size (int): W, the number of ranks.

    Attributes:
        start (int): The first class.
        stop (int): The class after the last one.

    Raises:
        ValueError: for num_classes below 1 or a rank outside 0..world_size-1.
    """

    num_classes: int
    rank: int
    world_size: int

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes is {self.num_classes}; it must be at least 1")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"rank is {self.rank}; with world_size {self.world_size} it must be 0..{self.world_size - 1}"
            )

    @property
    def start(self) -> int:
        return chunk_range(self.num_classes, self.rank, self.world_size)[0]

    @property
    def stop(self) -> int:
        return chunk_range(self.num_classes, self.rank, self.world_size)[1]

    def __len__(self) -> int:
        return self.stop - self.start

    def locate(self, labels: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Which samples have their class in this shard.

        Args:
            labels (numpy.ndarray): [N] int64, global class ids.

        Returns:
            tuple[numpy.ndarray, numpy.ndarray]: The samples [T] whose class lies in this shard, and the local
            row of that class [T], from 0 for class `start`.
        """
        samples = np.flatnonzero((labels >= self.start) & (labels < self.stop))
        return samples, labels[samples] - self.start
