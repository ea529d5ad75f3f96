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

IGNORE = -1
EMBEDDING_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

# The columns of the table that is exchanged, one row for each rank, whichever of its methods a rank calls.
COLUMNS = range(9)
METHOD, COUNT, FAILED, BAD_SAMPLE, BAD_LABEL, BAD_WEIGHT, WEIGHT, CALL, HEAD = COLUMNS
FORWARD, TOP_K = range(2)  # of column METHOD
METHODS = {FORWARD: "the head itself", TOP_K: "head.top_k"}
MUST_BE_THE_SAME = {
    CALL: "call the head otherwise than rank 0: train or eval mode, the embeddings' dtype, whether there are "
    "weights and whether gradients are wanted",
    HEAD: "built their head otherwise than rank 0: sizes, sample rate, seed, margin, dtypes and "
    "class weights",
}


@dataclass(frozen=True, slots=True)
class Agreed:
    """What is known of a batch once all ranks have checked theirs."""

    labels: npt.NDArray[np.int64]  # [B] this rank's
    weights: npt.NDArray[np.float64] | None  # [B] this rank's
    valid: npt.NDArray[np.int64]  # [V] which of its samples are valid
    counts: list[int]  # [W] how many are on each rank


def agree_on_batch(
    world: World,
    embeddings: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    *,
    embedding_size: int,
    num_classes: int,
    device: torch.device,
    mode: int,
    head_digest: int,
) -> Agreed:
    """Check this rank's embeddings [B, D], labels [B] and weights [B], and hear of other ranks' checks.

    Collective. mode and head_digest, small integers, must be the same on every rank.

    Raises, on every rank together: ValueError where this rank's own argument is wrong, or a weight of any
    rank is, LabelError where a label of any rank is out of range, DistributedError where another rank's
    argument is wrong, or ranks differ.
    """
    problem = _problem(embeddings, labels, weights, embedding_size, device)
    host, host_weights = np.empty(0, np.int64), None
    bad_label = bad_weight = (-1, 0)
    dtype = 0
    if problem is None:
        dtype = EMBEDDING_DTYPES.index(embeddings.dtype)
        host = labels.detach().cpu().numpy().astype(np.int64, copy=False)
        bad_label = _first((host < IGNORE) | (host >= num_classes), host)
        if weights is not None:
            host_weights = weights.detach().cpu().to(torch.float64).numpy()
            fine = (host_weights >= 0) & (host_weights < np.inf)
            bad_weight = _first(~fine, host_weights.view(np.int64))
    valid = np.flatnonzero(host != IGNORE)
    table = _exchanged(
        world,
        FORWARD,
        problem,
        {
            COUNT: len(valid),
            BAD_SAMPLE: bad_label[0],
            BAD_LABEL: bad_label[1],
            BAD_WEIGHT: bad_weight[0],
            WEIGHT: bad_weight[1],
            CALL: (dtype << 3) | (weights is not None) << 2 | mode,
            HEAD: head_digest,
        },
    )
    for rank, row in enumerate(table.tolist()):
        where = f" on rank {rank}" if world.size > 1 else ""
        if row[BAD_SAMPLE] >= 0:
            raise LabelError(
                f"label {row[BAD_LABEL]} at sample {row[BAD_SAMPLE]}{where}: num_classes is {num_classes}, "
                f"so labels must be 0..{num_classes - 1}, or -1 for a sample to ignore"
            )
        if row[BAD_WEIGHT] >= 0:
            value = np.int64(row[WEIGHT]).view(np.float64)
            raise ValueError(
                f"weight {value} at sample {row[BAD_WEIGHT]}{where}: weights must be finite and at least 0"
            )
    for column, what in MUST_BE_THE_SAME.items():
        others = np.flatnonzero(table[:, column] != table[0, column]).tolist()
        if others:
            raise DistributedError(f"ranks {others} {what} must be the same on every rank")
    return Agreed(host, host_weights, valid, table[:, COUNT].tolist())


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
    problem = _problem_of_embeddings(embeddings, embedding_size, device)
    number = as_int(k) or 0
    if not 1 <= number <= num_classes:
        problem = ValueError(f"k is {k!r}; it must be a whole number from 1 to num_classes, {num_classes}")
    mine = {}
    if problem is None:
        call = number * len(EMBEDDING_DTYPES) + EMBEDDING_DTYPES.index(embeddings.dtype)
        mine = {COUNT: len(embeddings), CALL: call}
    table = _exchanged(world, TOP_K, problem, mine)
    others = np.flatnonzero(table[:, CALL] != table[0, CALL]).tolist()
    if others:
        raise DistributedError(
            f"ranks {others} ask otherwise than rank 0: k and the embeddings' dtype must be the same on all"
        )
    return [*map(int, table[:, COUNT])], number


def _exchanged(
    world: World, method: int, problem: ValueError | None, mine: Mapping[int, int]
) -> npt.NDArray[np.int64]:
    """This rank's columns, 0 where not given -> the table [W, columns] of all ranks; collective.

    Raises this rank's problem, or DistributedError where another rank has one or calls another method.
    """
    row = {METHOD: method, FAILED: problem is not None, **mine}
    table = world.gather_integers([int(row.get(column, 0)) for column in COLUMNS])
    if problem is not None:
        raise problem
    others = np.flatnonzero(table[:, METHOD] != table[0, METHOD]).tolist()
    if others:
        of_others, of_rank_0 = METHODS[int(table[others[0], METHOD])], METHODS[int(table[0, METHOD])]
        raise DistributedError(
            f"ranks differ on what this call is: ranks {others} call {of_others}, and rank 0 calls "
            f"{of_rank_0}. Every rank must make the same calls of a head, in the same order"
        )
    failed = np.flatnonzero(table[:, FAILED]).tolist()
    if failed:
        raise DistributedError(f"bad input on rank {failed[0]}; its own error says what is wrong")
    return table


def _first(bad: npt.NDArray[np.bool_], values: npt.NDArray[np.int64]) -> tuple[int, int]:
    """The first sample of those that are bad [B], and its value; -1 and 0 where none is."""
    samples = np.flatnonzero(bad)
    return (int(samples[0]), int(values[samples[0]])) if len(samples) else (-1, 0)


def _problem(
    embeddings: Tensor, labels: Tensor, weights: Tensor | None, embedding_size: int, device: torch.device
) -> ValueError | None:
    """What is wrong with this rank's arguments, the values of labels and weights apart; None: nothing."""
    problem = _problem_of_embeddings(embeddings, embedding_size, device)
    if problem is not None:
        return problem
    for name, value in {"labels": labels, **({} if weights is None else {"weights": weights})}.items():
        if not isinstance(value, Tensor):
            return ValueError(f"{name} is a {type(value).__name__}; it must be a torch.Tensor")
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
    embeddings: Tensor, embedding_size: int, device: torch.device
) -> ValueError | None:
    if not isinstance(embeddings, Tensor):
        return ValueError(f"embeddings is a {type(embeddings).__name__}; it must be a torch.Tensor")
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
    if embeddings.device != device:
        return ValueError(f"embeddings.device is {embeddings.device}; it must be the head's, {device}")
    return None
