"""The bytes that the head of one rank needs: what it keeps, and what a step adds at its peak."""

from dataclasses import dataclass, fields

import torch

from partialfc.head.kernels import chunks
from partialfc.head.kernels.storage import block_size
from partialfc.plan.setting import ITEM_BYTES, Setting

GPU_CACHE = 50 << 20  # an H100's or H200's second level; an A100 has 40 MiB
STEP_COUNTER = 4  # int32 a row: RowSGD's row_step, RowAdamW's count
INDEX = 8
SCALE = 4  # float32, of a block of int8 momentum
OWED = 4  # numbers a row, see head/kernels/decay.py
DRAWING = 17  # bytes a row that head/sampling.py needs besides the result, measured

# Tensors [k, D] that are alive together where the element-wise parts run uncompiled, and more of them where
# the result is rounded to bfloat16: counted in a trace of each.
UNCOMPILED = {"dense": 6, "frozen": 5, "adamw": 9}
UNCOMPILED_ROUNDING = 4.5


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one rank, by what they are for.

    centres [C_l, D] and momentum [C_l, D] (AdamW: both moments) and row_state [C_l] stay; workspace is what a
    chunk of k rows is computed in; kept_exponentials [K, N] wait for pass 2; step_rows [K] is the sample and
    what its rows owe; gathered_embeddings is every [N, D].
    """

    centres: int
    momentum: int
    row_state: int
    workspace: int
    kept_exponentials: int
    step_rows: int
    gathered_embeddings: int

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def memory_of(setting: Setting) -> Memory:
    """The peak of a training step, one rank of the largest shard.

    Left out is what an allocator keeps of freed memory: some 10 to 50 MB with glibc's malloc as it comes, and
    up to 100 MB where the head runs uncompiled. So is a GPU's own context.
    """
    return Memory(
        centres=_centres(setting),
        momentum=moment_bytes(setting, setting.local_classes),
        row_state=row_state_bytes(setting, setting.local_classes),
        workspace=_workspace(setting),
        kept_exponentials=kept_rows(setting) * setting.samples * setting.compute_bytes,
        step_rows=_step_rows(setting),
        gathered_embeddings=_gathered(setting),
    )


def stored_bytes(setting: Setting, rows: int) -> int:
    """What stays of so many rows from step to step, and goes into a checkpoint."""
    row = setting.embedding * setting.weight_bytes
    return rows * row + moment_bytes(setting, rows) + row_state_bytes(setting, rows)


def moment_bytes(setting: Setting, rows: int) -> int:
    """Of the momentum [rows, D] with its scales, or of AdamW's two moments."""
    size = setting.embedding
    if setting.optimizer == "adamw":
        return 2 * rows * size * setting.math_bytes
    scales = size // block_size(size) * SCALE if setting.stored_momentum == "int8" else 0
    return rows * (size * ITEM_BYTES[setting.stored_momentum] + scales)


def row_state_bytes(setting: Setting, rows: int) -> int:
    """RowSGD knows each row's step so that it can move it later; RowAdamW counts each row's steps."""
    counted = setting.lazy or setting.optimizer == "adamw"
    return rows * STEP_COUNTER if counted else 0


def kept_rows(setting: Setting) -> int:
    """How many of the K rows of all micro-batches keep their exponentials until pass 2."""
    total = 0
    for _ in range(setting.accumulation):
        more = chunks.kept_rows(
            setting.rows,
            chunk_rows(setting),
            samples=setting.samples,
            size=setting.embedding,
            itemsize=setting.compute_bytes,
            centre_bytes=_centres(setting),
            taken=total * setting.samples * setting.compute_bytes,
        )
        if more == 0:
            break
        total += more
    return total


def chunk_rows(setting: Setting) -> int:
    """Rows of a chunk, as the head cuts them on a GPU with `GPU_CACHE`, or on this machine's CPU."""
    cache = GPU_CACHE if setting.device == "cuda" else chunks.last_level_cache(torch.device("cpu"))
    size, samples, itemsize = setting.embedding, setting.samples, setting.compute_bytes
    return chunks.chunk_rows(setting.rows, samples=samples, size=size, itemsize=itemsize, cache=cache)


def _centres(setting: Setting) -> int:
    return setting.local_classes * setting.embedding * setting.weight_bytes


def _workspace(setting: Setting) -> int:
    """Of a chunk of k rows, by row: what the passes multiply, and the temporaries between their products.

    Pass 1 needs centres [k, D] and cosines [k, N], and pass 2 takes the same memory for gradients. Where
    exponentials are not all kept, pass 1 has theirs, and pass 2 centres and exponentials of its own.
    """
    samples, size, item, wide = setting.samples, setting.embedding, setting.compute_bytes, setting.math_bytes
    everything = kept_rows(setting) == setting.accumulation * setting.rows
    operands = (size + samples if everything else 2 * size + 3 * samples) * item
    if setting.accumulation > 1:  # the sum of the batches' gradients, and that of the chunk before
        operands += 2 * size * wide
    if setting.optimizer == "sgd" and setting.stored_momentum == "int8":
        operands += size * wide  # momentum that waits for its scale
    # A sum of bfloat16 exponentials makes them float32 first.
    temporaries = samples * wide if item < wide else 0
    if not setting.compiled:
        tensors: float = UNCOMPILED[_moved_as(setting)]
        if setting.weight_dtype == "bfloat16":
            tensors += UNCOMPILED_ROUNDING
        temporaries = max(temporaries, int(tensors * size * wide), samples * (2 * wide + 1))
    return chunk_rows(setting) * (operands + temporaries)


def _moved_as(setting: Setting) -> str:
    return "adamw" if setting.optimizer == "adamw" else "dense" if setting.lazy else "frozen"


def _step_rows(setting: Setting) -> int:
    """The index of the sample, and the larger of what drawing it and what reading the rows' steps takes.

    A GPU's sample is drawn in the host's memory. Steps are read as int32 and looked up as int64.
    """
    index = INDEX if setting.sampled else 0
    drawing = DRAWING if setting.sampled and setting.device == "cpu" else 0
    owing = 0
    if setting.lazy:
        owing = (STEP_COUNTER if setting.sampled else 0) + 2 * INDEX + OWED * setting.math_bytes
    return setting.step_rows * (index + max(drawing, owing))


def _gathered(setting: Setting) -> int:
    """Embeddings and unit embeddings; then the targets' centres are read, or pass 1 sums its pull.

    A rank owns one target in W. A batch that waits for the optimizer keeps what pass 2 reads.
    """
    size, wide, item = setting.embedding, setting.math_bytes, setting.compute_bytes
    every = setting.samples * size
    targets = setting.batch * size * wide
    reading = targets * (6 if setting.lazy else 3)
    product = every * (item + wide) if item < wide else 0
    passing = targets + every * (wide + 2 * item) + product
    return every * 2 * wide + max(reading, passing) + (setting.accumulation - 1) * every * (wide + item)
