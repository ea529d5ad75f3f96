"""Which sample goes where: one global stream of samples, and the slice of each batch that a rank reads.

The stream has no end. What comes where is a pure function of the seed and the position, and a position is one
global sample count: it means the same for any world size and any number of workers. There are two orders:
`Shuffled` here, and `Identities` in identities.py.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from partialfc.errors import CheckpointError, ConfigError

Indices = NDArray[np.uint32] | NDArray[np.int64]


class Order(Protocol):
    """What the stream holds, a pure function of the position."""

    def samples(self, position: int, start: int, stop: int) -> list[int]:
        """The indices in the source of places start..stop-1 of the global batch at a position."""
        ...


def epoch_order(num_samples: int, seed: int, epoch: int) -> Indices:
    """The order of one epoch: [num_samples], a permutation of 0..num_samples-1.

    One array of 4 bytes a sample (8 beyond 2**32 samples), shuffled in place. NumPy fixes the algorithm
    within a release, not for ever: a test knows the numbers, so that a change is noticed.
    """
    fits = num_samples <= 2**32
    order: Indices = (
        np.arange(num_samples, dtype=np.uint32) if fits else np.arange(num_samples, dtype=np.int64)
    )
    keyed(seed, epoch).shuffle(order)
    return order


def keyed(seed: int, *key: int) -> np.random.Generator:
    """A generator of its own for each seed and key."""
    # spawn_key, unlike a tuple (seed, *key) of entropy, keeps the two apart however large the seed is.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


class Shuffled:
    """Every sample once an epoch: epoch e is a permutation of all, a pure function of (seed, e).

    The batch at position p is `stream[p : p + N]`, with the epochs one after another. It may span two, so no
    sample is dropped or added, and a position means the same for any batch size.
    """

    def __init__(self, num_samples: int, *, seed: int) -> None:
        if num_samples < 1:
            raise ConfigError(f"num_samples is {num_samples}: an endless stream needs at least one sample")
        require_not_negative("seed", seed)
        self._num_samples = num_samples
        self._seed = seed
        self._epoch = -1
        self._order: Indices = np.empty(0, np.uint32)

    def samples(self, position: int, start: int, stop: int) -> list[int]:
        """As `Order.samples`, however many epochs these reach into."""
        at, end = position + start, position + stop
        indices: list[int] = []
        while at < end:
            epoch, offset = divmod(at, self._num_samples)
            length = min(end - at, self._num_samples - offset)
            indices += self._epoch_order(epoch)[offset : offset + length].tolist()
            at += length
        return indices

    def _epoch_order(self, epoch: int) -> Indices:
        if epoch != self._epoch:
            self._order = np.empty(0, np.uint32)  # frees the last epoch before the next one is made
            self._order = epoch_order(self._num_samples, self._seed, epoch)
            self._epoch = epoch
        return self._order


def require_not_negative(name: str, value: int) -> None:
    if value < 0:
        raise ConfigError(f"{name} is {value}: it must be 0 or more")


def split_batch(global_batch: int, rank: int, world_size: int) -> tuple[int, int]:
    """The half-open range of the global batch that `rank` reads; sizes differ by at most one.

    Unlike torch.chunk it leaves no rank without samples, so BatchNorm and DDP see a batch everywhere.
    Raises ConfigError if there are fewer samples than ranks.
    """
    if not 0 <= rank < world_size:
        raise ConfigError(f"rank is {rank}: it must be 0..{world_size - 1} for world_size {world_size}")
    if global_batch < world_size:
        raise ConfigError(
            f"global_batch is {global_batch}, world_size is {world_size}: every rank needs at least one "
            f"sample, so raise global_batch to {world_size} or more, or use fewer ranks"
        )
    size, larger = divmod(global_batch, world_size)
    start = rank * size + min(rank, larger)
    return start, start + size + (rank < larger)


def position_of(state: Mapping[str, Any]) -> int:
    """The stream position in a state of BatchSampler or Loader; CheckpointError if it holds none."""
    position = state.get("position")
    if not isinstance(position, int) or isinstance(position, bool) or position < 0:
        raise CheckpointError(
            f"data state {dict(state)!r}: 'position' must be the number of samples read so far, 0 or more"
        )
    return position


class BatchSampler:
    """Yields this rank's part of each global batch, without end, as a list of (index, position) pairs.

    `index` names the sample in the source, `position` its place in the global stream. Augmentation is
    keyed by the position, so a sample gets the same one on whichever rank and worker it is read.
    """

    def __init__(
        self,
        order: Order,
        *,
        global_batch: int,
        rank: int = 0,
        world_size: int = 1,
        position: int = 0,
    ) -> None:
        require_not_negative("position", position)
        self._start, self._stop = split_batch(global_batch, rank, world_size)
        self._order = order
        self._global_batch = global_batch
        self._position = position

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        while True:
            first = self._position
            self._position += self._global_batch
            yield self.batch_at(first)

    def batch_at(self, position: int) -> list[tuple[int, int]]:
        """This rank's part of the global batch at a position; the sampler's own does not change."""
        indices = self._order.samples(position, self._start, self._stop)
        return list(zip(indices, range(position + self._start, position + self._stop), strict=True))

    @property
    def batch_size(self) -> int:
        """Samples of each batch on this rank."""
        return self._stop - self._start

    def state_dict(self) -> dict[str, int]:
        """The global position after the last batch that was yielded."""
        return {"position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._position = position_of(state)
