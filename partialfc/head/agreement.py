"""What every rank must agree on before a batch is exchanged: good arguments, the same call, the same head."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.distributed.world import World
from partialfc.errors import DistributedError, LabelError
from partialfc.head.arguments import as_int
from partialfc.head.message import CALL, COUNT, FAILED, HEAD, METHOD, Heard, Integers, exchange

IGNORE = -1
EMBEDDING_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

FORWARD, TOP_K, LOSS, POOL, WRITE = range(5)  # of column METHOD
METHODS = {
    FORWARD: "the head itself",
    TOP_K: "head.top_k",
    LOSS: "a loss beside the head",
    POOL: "the class pool itself",
    WRITE: "pool.write",
}
OWNER = {
    FORWARD: "the head's",
    TOP_K: "the head's",
    LOSS: "the loss's",
    POOL: "the pool's",
    WRITE: "the pool's",
}
_SAME_POOL = {
    CALL: "call the class pool otherwise than rank 0: train or eval mode, the embeddings' dtype and whether "
    "gradients are wanted",
    HEAD: "built their class pool otherwise than rank 0: sizes, margin, hard negatives, shard and dtypes",
}
MUST_BE_THE_SAME = {
    FORWARD: {
        CALL: "call the head otherwise than rank 0: train or eval mode, the embeddings' dtype, whether there "
        "are weights and whether gradients are wanted",
        HEAD: "built their head otherwise than rank 0: sizes, sample rate, seed, margin, dtypes and "
        "class weights",
    },
    LOSS: {
        CALL: "call this loss otherwise than rank 0: train or eval mode, the size and dtype of embeddings "
        "or predictions and whether gradients are wanted",
        HEAD: "call another loss than rank 0, or built it otherwise: its kind and all that it is built with",
    },
    POOL: _SAME_POOL,
    WRITE: _SAME_POOL,
}


@dataclass(frozen=True, slots=True)
class Agreed:
    """A batch that all ranks have checked: its N valid samples, rank 0's first."""

    labels: Integers  # [N] class ids
    weights: npt.NDArray[np.float64] | None  # [N]
    counts: list[int]  # [W] how many of the N each rank has
    valid: Integers  # [V] which of this rank's B samples are among them


def agree_on_batch(
    world: World,
    embeddings: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    *,
    embedding_size: int | None,
    num_classes: int | None,
    device: torch.device,
    mode: int,
    head_digest: int,
    method: int = FORWARD,
    problem: ValueError | None = None,
) -> Agreed:
    """Check this rank's embeddings [B, D], labels [B] and weights [B] -> all ranks' labels and weights.

    Collective: one exchange, and a second where a rank has more samples than any had in the last batches.
    embedding_size, num_classes: None where any will do, on all ranks the same. mode and head_digest, small
    integers, must be the same on every rank. method: FORWARD, LOSS, POOL or WRITE, what is called. problem:
    what the caller found wrong with a further argument of this rank.

    Raises, on every rank together: ValueError where this rank's own argument is wrong, or a weight of any
    rank is, LabelError where a label of any rank is out of range, DistributedError where another rank's
    argument is wrong, or ranks differ.
    """
    problem = _problem(embeddings, labels, weights, embedding_size, device, OWNER[method]) or problem
    size, dtype, told = 0, 0, np.empty((0, 1), np.int64)
    if problem is None:
        size, dtype = embeddings.shape[1], EMBEDDING_DTYPES.index(embeddings.dtype)
        told = labels.detach().cpu().numpy().astype(np.int64, copy=False)[:, None]
        if weights is not None:
            bits = weights.detach().cpu().to(torch.float64).numpy().view(np.int64)
            told = np.column_stack([told, bits])
    call = (size << 5) | (dtype << 3) | (weights is not None) << 2 | mode
    columns = {COUNT: len(told), CALL: call, HEAD: head_digest}
    heard = _exchanged(world, device, method, problem, columns, told.ravel())
    for column, what in MUST_BE_THE_SAME[method].items():
        others = np.flatnonzero(heard.table[:, column] != heard.table[0, column]).tolist()
        if others:
            raise DistributedError(f"ranks {others} {what} must be the same on every rank")
    of_all = heard.following(world).reshape(-1, 1 if weights is None else 2)
    begins = np.concatenate([[0], np.cumsum(heard.table[:, COUNT])])
    all_weights = None if weights is None else of_all[:, 1].copy().view(np.float64)
    _check_values(of_all[:, 0], all_weights, begins, num_classes)
    is_valid = of_all[:, 0] != IGNORE
    up_to = np.concatenate([[0], np.cumsum(is_valid)])[begins]
    return Agreed(
        of_all[is_valid, 0],
        None if all_weights is None else all_weights[is_valid],
        np.diff(up_to).tolist(),
        np.flatnonzero(is_valid[begins[world.rank] : begins[world.rank + 1]]),
    )


def _check_values(
    labels: Integers, weights: npt.NDArray[np.float64] | None, begins: Integers, num_classes: int | None
) -> None:
    """LabelError or ValueError for the first of all ranks' labels or weights that is wrong.

    begins [W + 1]: where among them each rank's begin.
    """

    def where(index: int) -> str:
        rank = int(np.searchsorted(begins, index, side="right")) - 1
        return f"sample {index - begins[rank]}" + (f" on rank {rank}" if len(begins) > 2 else "")

    wrong = np.flatnonzero((labels < IGNORE) | (num_classes is not None and labels >= num_classes))
    if len(wrong):
        rule = (
            "labels must be at least 0"
            if num_classes is None
            else f"num_classes is {num_classes}, so labels must be 0..{num_classes - 1}"
        )
        raise LabelError(
            f"label {labels[wrong[0]]} at {where(wrong[0])}: {rule}, or -1 for a sample to ignore"
        )
    if weights is None:
        return
    wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    if len(wrong):
        raise ValueError(
            f"weight {weights[wrong[0]]} at {where(wrong[0])}: weights must be finite and at least 0"
        )


def agree_on_query(
    world: World,
    embeddings: Tensor,
    k: int,
    *,
    embedding_size: int,
    num_classes: int,
    device: torch.device,
) -> tuple[list[int], int]:
    """Check this rank's embeddings [B, D] and k, and hear of the others' -> every rank's B [W], and k.

    Collective. Raises, on every rank together: ValueError where this rank's own argument is wrong,
    DistributedError where another rank's is, or ranks differ in k, in the embeddings' dtype or in what they
    call.
    """
    problem = _problem_of_embeddings(embeddings, embedding_size, device, OWNER[TOP_K])
    number = as_int(k) or 0
    if not 1 <= number <= num_classes:
        problem = ValueError(f"k is {k!r}; it must be a whole number from 1 to num_classes, {num_classes}")
    mine = {}
    if problem is None:
        call = number * len(EMBEDDING_DTYPES) + EMBEDDING_DTYPES.index(embeddings.dtype)
        mine = {COUNT: len(embeddings), CALL: call}
    table = _exchanged(world, device, TOP_K, problem, mine, np.empty(0, np.int64)).table
    others = np.flatnonzero(table[:, CALL] != table[0, CALL]).tolist()
    if others:
        raise DistributedError(
            f"ranks {others} ask otherwise than rank 0: k and the embeddings' dtype must be the same on all"
        )
    return [*map(int, table[:, COUNT])], number


def _exchanged(
    world: World,
    device: torch.device,
    method: int,
    problem: ValueError | None,
    columns: Mapping[int, int],
    following: Integers,
) -> Heard:
    """This rank's columns, and the integers that follow -> what all ranks told; collective.

    Raises this rank's problem, or DistributedError where another rank has one or calls another method.
    """
    heard = exchange(world, {METHOD: method, FAILED: problem is not None, **columns}, following, device)
    table = heard.table
    if problem is not None:
        raise problem
    others = np.flatnonzero(table[:, METHOD] != table[0, METHOD]).tolist()
    if others:
        of_others, of_rank_0 = METHODS[int(table[others[0], METHOD])], METHODS[int(table[0, METHOD])]
        raise DistributedError(
            f"ranks differ on what this call is: ranks {others} call {of_others}, and rank 0 calls "
            f"{of_rank_0}. Every rank must make the same calls, in the same order"
        )
    failed = np.flatnonzero(table[:, FAILED]).tolist()
    if failed:
        raise DistributedError(f"bad input on rank {failed[0]}; its own error says what is wrong")
    return heard


def _problem(
    embeddings: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    embedding_size: int | None,
    device: torch.device,
    owner: str,
) -> ValueError | None:
    """What is wrong with this rank's arguments, the values of labels and weights apart; None: nothing."""
    problem = _problem_of_embeddings(embeddings, embedding_size, device, owner)
    if problem is not None:
        return problem
    for name, value in {"labels": labels, **({} if weights is None else {"weights": weights})}.items():
        if not isinstance(value, Tensor):
            return ValueError(f"{name} is a {type(value).__name__}; it must be a torch.Tensor")
        if value.is_meta:
            return ValueError(f"{name} is on the device meta, without values; give it on the CPU or {device}")
    if labels.dtype not in (torch.int64, torch.int32):
        return ValueError(f"labels.dtype is {labels.dtype}; it must be torch.int64 or torch.int32")
    if labels.shape != embeddings.shape[:1]:
        return ValueError(
            f"labels.shape is {tuple(labels.shape)}; it must be [{len(embeddings)}], one an embedding"
        )
    if weights is not None and (weights.shape != labels.shape or not weights.is_floating_point()):
        return ValueError(
            f"weights is a tensor {list(weights.shape)} of {weights.dtype}; it must be [{len(embeddings)}], "
            "one an embedding, of a floating-point dtype"
        )
    if weights is not None and weights.requires_grad:
        return ValueError(
            "weights requires a gradient, which the head does not compute: pass weights.detach()"
        )
    return None


def _problem_of_embeddings(
    embeddings: Tensor, embedding_size: int | None, device: torch.device, owner: str
) -> ValueError | None:
    if not isinstance(embeddings, Tensor):
        return ValueError(f"embeddings is a {type(embeddings).__name__}; it must be a torch.Tensor")
    if embeddings.dtype not in EMBEDDING_DTYPES:
        return ValueError(
            f"embeddings.dtype is {embeddings.dtype}; it must be floating-point, one of "
            f"{EMBEDDING_DTYPES}; pass embeddings.float()"
        )
    if embeddings.dim() != 2 or (embedding_size is not None and embeddings.shape[1] != embedding_size):
        rule = "[B, D]" if embedding_size is None else f"[B, {embedding_size}], {owner} embedding_size"
        return ValueError(f"embeddings.shape is {tuple(embeddings.shape)}; it must be {rule}")
    if embeddings.device != device:
        return ValueError(f"embeddings.device is {embeddings.device}; it must be {owner}, {device}")
    return None
