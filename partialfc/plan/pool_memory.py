"""The bytes that a class pool needs on one rank: what it keeps, and what a step adds at its peak."""

from dataclasses import dataclass, fields

import torch

from partialfc.head.kernels import chunks
from partialfc.plan.memory import GPU_CACHE
from partialfc.plan.pool_setting import PoolSetting
from partialfc.plan.setting import ITEM_BYTES

INTEGER = 8
ON_HOST = 5  # numbers a slot: the arrays of pool/recent_classes.py
REPLACING = 26  # bytes a slot at the peak of a write: a mask, the order without who left, and the new order
TENSORS = 6  # [N, D] at once: embeddings, unit ones, both again of those in the pool, their rows, their pull


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """Bytes on one rank, by what they are for.

    features [Q_l, k·D]; order: which class lies where and when it was written, of which a GPU holds 8 bytes a
    slot and the host the rest, `on_host`, which is no part of the total; gallery: the parameters and running
    statistics of the network that gives the features. Of a step are workspace, which a chunk of rows is
    computed in, and gathered_embeddings, every tensor [N, D].
    """

    features: int
    order: int
    gallery: int
    workspace: int
    gathered_embeddings: int
    on_host: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self) if field.name != "on_host")


def pool_memory_of(setting: PoolSetting) -> PoolMemory:
    """The peak of a training step; not counted is what the passes through the networks need."""
    on_host = setting.size * (ON_HOST * INTEGER + REPLACING)
    turns = setting.size * INTEGER
    on_gpu = setting.device != "cpu"
    return PoolMemory(
        features=setting.local_size * setting.row_size * ITEM_BYTES[setting.weight_dtype],
        order=turns if on_gpu else turns + on_host,
        gallery=setting.gallery,
        workspace=_workspace(setting),
        gathered_embeddings=TENSORS * setting.samples * setting.embedding * setting.math_bytes,
        on_host=on_host if on_gpu else 0,
    )


def pool_checkpoint_of(setting: PoolSetting) -> int:
    """Bytes of the pool and the gallery in a checkpoint, of all ranks."""
    features = setting.size * setting.row_size * ITEM_BYTES[setting.weight_dtype]
    return features + 3 * setting.size * INTEGER + setting.gallery


def _workspace(setting: PoolSetting) -> int:
    """Bytes that a chunk of k rows is computed in, with k·S lines of S features a class.

    The softmax of n samples has lines [k·S, D] and exponentials [k·S, n], and keeps their memory for the next
    step. The others' nearest classes have lines of their own chunks in the same memory, and cosines [n, k·S].
    """
    inside, outside = setting.inside, setting.samples - setting.inside
    item = setting.compute_bytes
    lines = max(_chunk_lines(setting, inside), _chunk_lines(setting, outside)) * setting.embedding * item
    exponentials = _chunk_lines(setting, inside) * inside * item
    return lines + exponentials + max(_of_softmax(setting, inside), _of_nearest(setting, outside))


def _of_softmax(setting: PoolSetting, samples: int) -> int:
    """Temporaries of a chunk: exponentials in bfloat16 are made float32 before they are summed.

    Uncompiled there are masks and sums [k, n], and with several features a class which of them is nearest.
    """
    wide, several = setting.math_bytes, setting.sub_centers
    of_line = samples * wide if setting.compute_bytes < wide else 0
    if setting.compiled:
        return _chunk_lines(setting, samples) * of_line
    if several == 1:
        of_line = max(of_line, samples * (2 * wide + 1))
    else:
        of_line = samples * (wide + 1) + samples * (3 * wide + 5) // several
    return _chunk_lines(setting, samples) * max(of_line, _used_centres(setting))


def _of_nearest(setting: PoolSetting, samples: int) -> int:
    """Cosines, also in float32, and with several features a class the largest of them and which it is."""
    item, wide, several = setting.compute_bytes, setting.math_bytes, setting.sub_centers
    of_line = samples * (item + (wide if item < wide else 0))
    if several > 1:
        of_line += samples * (wide + INTEGER) // several
    return _chunk_lines(setting, samples) * (of_line + (0 if setting.compiled else _used_centres(setting)))


def _used_centres(setting: PoolSetting) -> int:
    """Bytes of a line while it is normalised uncompiled; one that is stored narrower is converted before."""
    converted = ITEM_BYTES[setting.weight_dtype] != setting.math_bytes
    return (1 + converted) * setting.embedding * setting.math_bytes


def _chunk_lines(setting: PoolSetting, samples: int) -> int:
    """The lines of a chunk: what the pool takes on a GPU with `GPU_CACHE`, or on this machine's CPU."""
    on_gpu = setting.device != "cpu"
    limits = chunks.Limits(GPU_CACHE, few=True) if on_gpu else chunks.limits_of(torch.device("cpu"))
    several = setting.sub_centers
    size, item, rows = setting.row_size, setting.compute_bytes, setting.local_size
    per_chunk = chunks.chunk_rows(rows, samples=samples * several, size=size, itemsize=item, limits=limits)
    return min(per_chunk, rows) * several
