"""The bytes that the head of one rank needs: what it keeps, and what a step adds at its peak."""

from dataclasses import dataclass, fields

import torch

from partialfc.head.kernels import chunks
from partialfc.head.kernels.storage import block_size
from partialfc.plan.losses import loss_bytes, loss_centre_bytes
from partialfc.plan.setting import ITEM_BYTES, Setting

GPU_CACHE = 50 << 20  # an H100's or H200's second level; an A100 has 40 MiB
STEP_COUNTER = 4  # int32 a row: RowSGD's row_step, RowAdamW's count
INDEX = 8
SCALE = 4  # float32, of a block of int8 momentum
OWED = 4  # numbers a row, see head/kernels/decay.py
DRAWING = 9  # bytes a row that head/sampling.py needs besides the result, measured

# How many tensors [k, D] exist at once where the element-wise parts run uncompiled, and how many more where
# the result is rounded to bfloat16. Counted in a trace of each case.
UNCOMPILED = {"dense": 6, "frozen": 5, "adamw": 9}
UNCOMPILED_ROUNDING = 4.5


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one rank, by what they are for.

    From step to step stay centres [C_l, D], momentum [C_l, D] (AdamW: both moments) and row_state [C_l];
    centres and momentum include those of biases [C_l], and have k·D numbers a class with k sub-centres.
    Of a step are workspace, which a chunk of k rows is computed in; kept_exponentials [K, N], which wait for
    pass 2; step_rows [K], the sample and what its rows owe; gathered_embeddings, every tensor [N, D];
    and losses, what those beside the head need: centres of their own [C_l, D] and distances [B, N].
    """

    centres: int
    momentum: int
    row_state: int
    workspace: int
    kept_exponentials: int
    step_rows: int
    gathered_embeddings: int
    losses: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


def memory_of(setting: Setting) -> Memory:
    """The peak of a training step, on a rank with the largest shard.

    Not counted is freed memory that the allocator keeps (10 to 50 MB with the defaults of glibc's malloc, up
    to 100 MB where the head runs uncompiled), and a GPU's own context.
    """
    return Memory(
        centres=centre_bytes(setting, setting.local_classes),
        momentum=moment_bytes(setting, setting.local_classes),
        row_state=row_state_bytes(setting, setting.local_classes),
        workspace=_workspace(setting),
        kept_exponentials=kept_rows_of(setting) * setting.lines * setting.compute_bytes,
        step_rows=_step_rows(setting),
        gathered_embeddings=_gathered(setting),
        losses=loss_bytes(setting),
    )


def stored_bytes(setting: Setting, rows: int) -> int:
    """Bytes of `rows` rows that stay from step to step, and that a checkpoint holds."""
    of_head = centre_bytes(setting, rows) + moment_bytes(setting, rows) + row_state_bytes(setting, rows)
    return of_head + loss_centre_bytes(setting, rows)


def moment_bytes(setting: Setting, rows: int) -> int:
    """Bytes of the momentum [rows, k·D] with its scales, or of AdamW's two moments, and of the biases'."""
    size, bias = setting.row_size, setting.bias * setting.math_bytes
    if setting.optimizer == "adamw":
        return 2 * rows * (size * setting.math_bytes + bias)
    scales = size // block_size(setting.embedding) * SCALE if setting.stored_momentum == "int8" else 0
    of_bias = 0 if setting.stored_momentum == "none" else bias
    return rows * (size * ITEM_BYTES[setting.stored_momentum] + scales + of_bias)


def centre_bytes(setting: Setting, rows: int) -> int:
    """Bytes of the centres of `rows` classes [rows, k·D], and of their biases."""
    return rows * (setting.row_size * setting.weight_bytes + setting.bias * setting.math_bytes)


def row_state_bytes(setting: Setting, rows: int) -> int:
    """Bytes of RowSGD's step of each row, from which it knows what the row owes, or of RowAdamW's count."""
    counted = setting.lazy or setting.optimizer == "adamw"
    return rows * STEP_COUNTER if counted else 0


def kept_rows_of(setting: Setting) -> int:
    """How many rows keep their exponentials until pass 2, counted over all micro-batches."""
    total = 0
    for _ in range(setting.accumulation):
        more = chunks.kept_rows(
            setting.rows,
            chunk_rows_of(setting),
            samples=setting.lines,
            size=setting.embedding,
            itemsize=setting.compute_bytes,
            centre_bytes=setting.local_classes * setting.row_size * setting.weight_bytes,
            taken=total * setting.lines * setting.compute_bytes,
        )
        if more == 0:
            break
        total += more
    return total


def chunk_rows_of(setting: Setting) -> int:
    """Rows k of a chunk: what the head takes on a GPU with `GPU_CACHE`, or on this machine's CPU."""
    on_gpu = setting.device == "cuda"
    limits = chunks.Limits(GPU_CACHE, few=True) if on_gpu else chunks.limits_of(torch.device("cpu"))
    size, samples, itemsize = setting.row_size, setting.lines, setting.compute_bytes
    return chunks.chunk_rows(setting.rows, samples=samples, size=size, itemsize=itemsize, limits=limits)


def _workspace(setting: Setting) -> int:
    """Bytes for a chunk of k rows: the operands of the matrix products, and the temporaries between them.

    A row has all centres of a class, so that of S centres it has S·D numbers and S·N cosines.

    Pass 1 needs centres [k, D], and pass 2 uses the same memory for gradients. Where not all exponentials are
    kept, both need memory [k, N] for them, and pass 2 for centres too.
    """
    samples, size, item, wide = setting.lines, setting.row_size, setting.compute_bytes, setting.math_bytes
    everything = kept_rows_of(setting) == setting.accumulation * setting.rows
    operands = (size if everything else 2 * size + 2 * samples) * item
    if setting.accumulation > 1:  # the sum of the micro-batches' gradients, and the sum of the chunk before
        operands += 2 * size * wide
    if setting.optimizer == "sgd" and setting.stored_momentum == "int8":
        operands += size * wide  # momentum in float32, until its scale is known
    # Exponentials in bfloat16 are made float32 before they are summed.
    temporaries = samples * wide if item < wide else 0
    if not setting.compiled:
        tensors: float = UNCOMPILED[_moved_as(setting)]
        if setting.weight_dtype == "bfloat16":
            tensors += UNCOMPILED_ROUNDING
        temporaries = max(temporaries, int(tensors * size * wide), samples * (2 * wide + 1))
    return chunk_rows_of(setting) * (operands + temporaries)


def _moved_as(setting: Setting) -> str:
    return "adamw" if setting.optimizer == "adamw" else "dense" if setting.lazy else "frozen"


def _step_rows(setting: Setting) -> int:
    """Bytes of the sample's index, and either of drawing it or of reading the rows' steps, whichever is more.

    The sample of a GPU is drawn in the host's memory. Steps are stored as int32 and looked up as int64.
    """
    index = INDEX if setting.sampled else 0
    drawing = DRAWING if setting.sampled and setting.device == "cpu" else 0
    owing = 0
    if setting.lazy:
        owing = (STEP_COUNTER if setting.sampled else 0) + 2 * INDEX + OWED * setting.math_bytes
    return setting.step_rows * (index + max(drawing, owing))


def _gathered(setting: Setting) -> int:
    """Bytes of embeddings and unit embeddings, and of what comes with them.

    That is either reading the centres of the targets, of which a rank owns one in W, or the pull that pass 1
    sums, whichever is more. A micro-batch that waits for the optimizer keeps what pass 2 reads.
    """
    size, wide, item = setting.embedding, setting.math_bytes, setting.compute_bytes
    every = setting.samples * size
    targets = setting.batch * size * wide
    reading = setting.sub_centers * targets * (6 if setting.lazy else 3)
    product = every * (item + wide) if item < wide else 0
    passing = targets + every * (wide + 2 * item) + product
    return every * 2 * wide + max(reading, passing) + (setting.accumulation - 1) * every * (wide + item)
