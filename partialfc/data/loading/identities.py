"""The order of batches with some images each of some identities, as losses on pairs and triplets need them.

The stream is cut into rounds of equally many batches, as many as hold each image about once (a round is an
epoch, up to whole batches). A round is a pure function of the seed and its number:

1. How often: a visit takes `images_per_identity` images of an identity, which is due for as many visits as
   use each of its images once. What is no whole number is rounded down in some rounds and up in others
   (`Turns.visits`).
2. When: the visits are dealt out to the batches so that no batch has an identity twice (`deal`).
3. Which images: at the end of any round the images of an identity have all been used equally often, or some
   of them once more. In which visit of the round each comes is drawn anew (`shuffled_turn`).
"""

from functools import lru_cache
from itertools import count
from math import gcd

import numpy as np
from numpy.typing import NDArray

from partialfc.data.loading.sampler import Indices, keyed, require_not_negative
from partialfc.errors import ConfigError

Counts = NDArray[np.int64]
GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, lie more evenly than those of any other number


class Identities:
    """Batches of `global_batch` / `images_per_identity` identities with `images_per_identity` images each.

    labels [n]: the class id of each sample; one below 0 takes no part. A sample's index is its place there.
    The batch at position p is number p // global_batch of the stream, so each is whole at any position.
    Kept are 4 bytes for each visit of a round, and for each sample where labels do not ascend.

    Raises ConfigError where `images_per_identity` does not divide the batch, or where the batch needs more
    identities than there are.
    """

    def __init__(
        self, labels: NDArray[np.signedinteger], *, global_batch: int, images_per_identity: int, seed: int
    ) -> None:
        require_not_negative("seed", seed)
        per_batch = identities_per_batch(global_batch, images_per_identity)
        self._members, self._starts = by_identity(labels)
        sizes = np.diff(self._starts)
        if len(sizes) < per_batch:
            raise ConfigError(
                f"a batch of {global_batch} with {images_per_identity} images per identity needs {per_batch} "
                f"identities, and the data has images of {len(sizes)}: lower the batch size "
                "(train.batch_size), or raise images_per_identity"
            )
        self._global_batch = global_batch
        self._per_identity = images_per_identity
        self._seed = seed
        self._turns = Turns(sizes, per_batch=per_batch, images_per_identity=images_per_identity)
        self._images = lru_cache(maxsize=per_batch)(self._shuffled)
        self._round = -1
        self._before = self._visits = self._line = self._ends = np.zeros(len(sizes), np.int64)
        self._table: Indices = np.empty((0, 0), np.uint32)

    @property
    def round_batches(self) -> int:
        """How many batches a round has."""
        return self._turns.batches

    def samples(self, position: int, start: int, stop: int) -> list[int]:
        """As `Order.samples`: `images_per_identity` places in a row are one identity's."""
        number, batch = divmod(position // self._global_batch, self._turns.batches)
        self._begin(number)
        per_identity = self._per_identity
        indices: list[int] = []
        for place in range(start // per_identity, -(-stop // per_identity)):
            indices += self._visit(int(self._table[place, batch]))
        skipped = start - start // per_identity * per_identity
        return indices[skipped : skipped + stop - start]

    def _begin(self, number: int) -> None:
        """Deal out round `number`, unless it is the one at hand."""
        if number == self._round:
            return
        follows = number == self._round + 1
        self._before = self._before + self._visits if follows else self._turns.visits_before(number)
        self._table = self._table[:0]  # frees the last round before the next one is made
        self._visits = self._turns.visits(number)
        generator = keyed(self._seed, number)
        self._line = generator.permutation(len(self._visits))
        lengths = self._visits[self._line]
        self._ends = np.cumsum(lengths)
        self._table = deal(lengths, self._turns.batches, generator)
        self._round = number
        self._images.cache_clear()

    def _visit(self, turn: int) -> list[int]:
        """The samples of a turn, which is one identity's visit in this round."""
        place = int(np.searchsorted(self._ends, turn, side="right"))
        identity = int(self._line[place])
        visit = turn - int(self._ends[place] - self._visits[identity])
        images = self._images(identity)
        per_identity = self._per_identity
        places = np.arange(visit * per_identity, (visit + 1) * per_identity) % len(images)
        chosen: list[int] = images[places].tolist()
        return chosen

    def _shuffled(self, identity: int) -> Indices:
        """An identity's samples in the order in which the visits of this round take them, again and again."""
        first, end = int(self._starts[identity]), int(self._starts[identity + 1])
        order = shuffled_turn(
            end - first,
            used=int(self._before[identity]) * self._per_identity,
            due=int(self._visits[identity]) * self._per_identity,
            generator=keyed(self._seed, self._round, identity),
        )
        return first + order if self._members is None else self._members[first + order]


def identities_per_batch(global_batch: int, images_per_identity: int) -> int:
    """How many a batch has. Raises ConfigError where its images cannot be divided so."""
    if images_per_identity < 1 or global_batch % images_per_identity:
        raise ConfigError(
            f"images_per_identity is {images_per_identity}: it must be at least 1 and divide the batch of "
            f"{global_batch}, so that each identity of a batch has as many images"
        )
    return global_batch // images_per_identity


def by_identity(labels: NDArray[np.signedinteger]) -> tuple[Indices | None, Counts]:
    """Samples by identity, and where each of the identities begins among them, and the last one ends.

    Samples None: they lie so already, in the order of their indices. Labels below 0 are left out.
    """
    members: Indices | None = None
    if len(labels) and (labels[0] < 0 or (labels[1:] < labels[:-1]).any()):
        order = np.argsort(labels, kind="stable")
        order = order[np.searchsorted(labels[order], 0) :]
        members = order.astype(np.uint32) if len(labels) <= 2**32 else order
        labels = labels[members]
    begins = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    first = [0] if len(labels) else []
    return members, np.concatenate([first, begins, [len(labels)]]).astype(np.int64)


class Turns:
    """How often each identity is visited in a round; sizes: their numbers of images.

    batches: of a round. per_batch: identities in a batch. One with more images than all batches have room for
    is in every batch, and its images are used less often than the others'.
    """

    def __init__(self, sizes: Counts, *, per_batch: int, images_per_identity: int) -> None:
        shares = at_most_one_a_batch(sizes, per_batch)
        self._reach = np.concatenate([[0], np.cumsum(shares)])
        self._total = int(self._reach[-1])
        batch = per_batch * images_per_identity
        self.batches = max(1, (2 * self._total + batch) // (2 * batch))  # rounded
        self._turns = self.batches * per_batch
        # Without a common divisor every offset has its turn.
        self._stride = next(s for s in count(int(GOLDEN * self._total)) if gcd(s, self._total) == 1)
        assert self._total * self._turns < 1 << 62

    def visits(self, number: int) -> Counts:
        """Of each identity in round `number`: its share of all turns, rounded down or up.

        Identities lie on a line, each as long as its share of the turns, and every whole number on it is a
        visit. From round to round these move on, so that each identity is rounded up as often as it should.
        """
        offset = number * self._stride % self._total
        return np.diff((self._reach * self._turns + offset) // self._total)

    def visits_before(self, number: int) -> Counts:
        """Of each identity in all rounds before round `number` together."""
        before = np.zeros(len(self._reach) - 1, np.int64)
        for earlier in range(number):
            before += self.visits(earlier)
        return before


def at_most_one_a_batch(sizes: Counts, per_batch: int) -> Counts:
    """The sizes, the largest of them cut so that none is more than the sum by `per_batch`."""
    rest = int(sizes.sum())
    for cut, size in enumerate(np.sort(sizes)[::-1][:per_batch].tolist()):
        if size * (per_batch - cut) <= rest:  # those before it are in every batch
            break
        rest -= size
    return np.minimum(sizes, rest // (per_batch - cut))


def deal(lengths: Counts, batches: int, generator: np.random.Generator) -> Indices:
    """Deal turns out to so many batches at random: -> [identities in a batch, batches], numbers of turns.

    lengths, each at most `batches`: so many turns in a row are one identity's, and no batch gets two of
    them. Every `batches` turns in a row go to one batch each, so only an identity that lies across the border
    of two such rows could meet itself.
    """
    ends = np.cumsum(lengths)
    turns = int(ends[-1])
    table: Indices = np.empty((turns // batches, batches), np.uint32)
    assert turns <= 1 << 32
    to = np.empty(0, np.int64)
    for row in range(len(table)):
        begin = row * batches
        earlier, to = to, generator.permutation(batches)
        across = int(np.searchsorted(ends, begin, side="right"))
        before = begin - int(ends[across] - lengths[across])
        if before:
            keep_apart(to, earlier[batches - before :], int(ends[across]) - begin)
        table[row, to] = np.arange(begin, begin + batches)
    return table


def keep_apart(to: Counts, taken: Counts, first: int) -> None:
    """Change the order of `to`, in place, so that its `first` numbers are none of those `taken`."""
    is_taken = np.zeros(len(to), np.bool_)
    is_taken[taken] = True
    wrong = np.flatnonzero(is_taken[to[:first]])
    free = first + np.flatnonzero(~is_taken[to[first:]])[: len(wrong)]
    to[wrong], to[free] = to[free], to[wrong]


def shuffled_turn(size: int, *, used: int, due: int, generator: np.random.Generator) -> Counts:
    """An order of an identity's images [size]; the round takes `due` of them, from the start again and again.

    used: how many images the rounds before took, from the start again and again.
    """
    extra = (used + np.arange(due % size)) % size  # these come once more than the others
    others = (used + np.arange(due % size, size)) % size
    return np.concatenate([generator.permutation(extra), generator.permutation(others)])
