"""What every rank must agree on before a batch is exchanged: good arguments, the same call, the same head."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.world import World
from partialfc.errors import DistributedError, LabelError

IGNORE = -1
EMBEDDING_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

# The columns of the table that is exchanged, one row for each rank.
VALID, FAILED, BAD_SAMPLE, BAD_LABEL, CALL, HEAD = range(6)
MUST_BE_THE_SAME = {
    CALL: "call the head otherwise than rank 0: train or eval mode, the embeddings' dtype and whether "
    "gradients are wanted",
    HEAD: "built their head otherwise than rank 0: sizes, sample rate, seed, margin and dtypes",
}


def agree_on_batch(
    world: World,
    embeddings: Tensor,
    labels: Tensor,
    *,
    embedding_size: int,
    num_classes: int,
    device: torch.device,
    mode: int,
    head_digest: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[int]]:
    """Check this rank's embeddings [B, D] and labels [B], and hear of the other ranks' checks; collective.

    mode and head_digest, small integers, must be the same on every rank.

    Returns the labels on the host [B], the indices of the valid samples [V], and the V of every rank [W].
    Raises, on every rank together: ValueError where this rank's own argument is wrong, LabelError where a
    label of any rank is out of range, DistributedError where another rank's argument is, or ranks differ.
    """
    problem = _problem(embeddings, labels, embedding_size, device)
    host = np.empty(0, np.int64)
    valid, bad = host, host
    if problem is None:
        host = labels.detach().cpu().numpy().astype(np.int64, copy=False)
        valid = np.flatnonzero(host != IGNORE)
        bad = np.flatnonzero((host < IGNORE) | (host >= num_classes))
    first_bad = (int(bad[0]), int(host[bad[0]])) if len(bad) else (-1, 0)
    dtype = EMBEDDING_DTYPES.index(embeddings.dtype) if problem is None else 0
    call = (dtype << 2) | mode
    table = world.gather_integers([len(valid), problem is not None, *first_bad, call, head_digest])
    if problem is not None:
        raise problem
    for rank, row in enumerate(table.tolist()):
        where = f" on rank {rank}" if world.size > 1 else ""
        if row[FAILED]:
            raise DistributedError(f"bad input{where}; its own error says what is wrong")
        if row[BAD_SAMPLE] >= 0:
            raise LabelError(
                f"label {row[BAD_LABEL]} at sample {row[BAD_SAMPLE]}{where}: num_classes is {num_classes}, "
                f"so labels must be 0..{num_classes - 1}, or -1 for a sample to ignore"
            )
    for column, what in MUST_BE_THE_SAME.items():
        others = np.flatnonzero(table[:, column] != table[0, column]).tolist()
        if others:
            raise DistributedError(f"ranks {others} {what} must be the same on every rank")
    return host, valid, table[:, VALID].tolist()


def _problem(
    embeddings: Tensor, labels: Tensor, embedding_size: int, device: torch.device
) -> ValueError | None:
    """What is wrong with this rank's arguments, labels' values apart; None where nothing is."""
    for name, value in (("embeddings", embeddings), ("labels", labels)):
        if not isinstance(value, Tensor):
            return ValueError(f"{name} is a {type(value).__name__}; it must be a torch.Tensor")
    if embeddings.dtype not in EMBEDDING_DTYPES:
        return ValueError(
            f"embeddings.dtype is {embeddings.dtype}; it must be floating-point, one of "
            f"{EMBEDDING_DTYPES}; pass embeddings.float()"
        )
    if embeddings.dim() != 2 or embeddings.shape[1] != embedding_size:
        return ValueError(
            f"embeddings.shape is {tuple(embeddings.shape)}; it must be [B, {embedding_size}], "
            "the head's embedding_size"
        )
    if labels.dtype not in (torch.int64, torch.int32):
        return ValueError(f"labels.dtype is {labels.dtype}; it must be torch.int64")
    if labels.shape != embeddings.shape[:1]:
        return ValueError(
            f"labels.shape is {tuple(labels.shape)}; it must be [{len(embeddings)}], one an embedding"
        )
    if embeddings.device != device:
        return ValueError(f"embeddings.device is {embeddings.device}; it must be the head's, {device}")
    return None
