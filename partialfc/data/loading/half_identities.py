"""The order of batches for a class pool: half of a batch are pairs of an identity's images, half any images.

A batch of N images goes by groups of four: two images of an identity, of which the first becomes its
feature, and two that may be of any identity. Both halves are streams of their own, N / 2 images a batch:
`Identities` with two images each, and `Shuffled`. A position in the one stream says where both are.
"""

import numpy as np
from numpy.typing import NDArray

from partialfc.data.loading.identities import Identities
from partialfc.data.loading.sampler import Indices, Shuffled
from partialfc.errors import ConfigError

GROUP, PAIR = 4, 2
OF_INSTANCES = 1 << 64  # added to the seed, so that the two halves are drawn apart


class HalfIdentities:
    """Batches of `global_batch` / 4 identities with two images each, and as many images of any identity.

    labels [n]: the class id of each sample; one below 0 takes no part. A sample's index is its place there.
    The batch at position p is number p // global_batch of the stream. Wang et al. 2022 (arXiv:2105.10375),
    the dual data loaders.

    Raises ConfigError where the batch is no multiple of 4, or needs more identities than there are.
    """

    def __init__(self, labels: NDArray[np.signedinteger], *, global_batch: int, seed: int) -> None:
        if global_batch < GROUP or global_batch % GROUP:
            raise ConfigError(
                f"the batch size (train.batch_size) is {global_batch}: with a class pool it must be a "
                f"multiple of {GROUP}, for two images of an identity go with two of any identity"
            )
        self._global_batch = global_batch
        found = len(np.unique(labels[labels >= 0]))
        if found < global_batch // GROUP:
            raise ConfigError(
                f"the batch size (train.batch_size) is {global_batch}, which with a class pool needs "
                f"{global_batch // GROUP} identities, but the data has images of {found}: lower it to "
                f"{GROUP * found} or less"
            )
        half = global_batch // 2
        self._identities = Identities(labels, global_batch=half, images_per_identity=PAIR, seed=seed)
        self._readable: Indices | None = None if (labels >= 0).all() else np.flatnonzero(labels >= 0)
        count = len(labels) if self._readable is None else len(self._readable)
        self._instances = Shuffled(count, seed=seed + OF_INSTANCES)

    @property
    def round_batches(self) -> int:
        """How many batches use each image about once in a pair."""
        return self._identities.round_batches

    def samples(self, position: int, start: int, stop: int) -> list[int]:
        """As `Order.samples`: groups of two images of one identity and two of any."""
        first, end = start // GROUP, -(-stop // GROUP)
        here = (position // self._global_batch * (self._global_batch // 2), first * PAIR, end * PAIR)
        instances = np.array(self._instances.samples(*here))
        if self._readable is not None:
            instances = self._readable[instances]
        halves = np.stack([self._identities.samples(*here), instances]).reshape(2, -1, PAIR)
        groups: list[int] = halves.swapaxes(0, 1).flatten().tolist()
        return groups[start - first * GROUP : stop - first * GROUP]


def become_features(start: int, stop: int) -> NDArray[np.bool_]:
    """Of places start..stop-1 of a batch: whether each is the image that becomes its identity's feature."""
    places: NDArray[np.int64] = np.arange(start, stop, dtype=np.int64)
    return np.equal(places % GROUP, 0)
