"""The first centres of a head from what is known of its classes: mean embeddings, or centres of another run.

To be called before the first step, on a head whose rows are those that it began with.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from partialfc.checkpoint import find_checkpoint, read_state
from partialfc.deploy.centres import SavedCentres
from partialfc.deploy.class_names import names_of_checkpoint
from partialfc.deploy.saved_network import SavedNetwork
from partialfc.distributed.together import together
from partialfc.errors import CheckpointError, ConfigError
from partialfc.finetune.class_means import Means
from partialfc.head.partial_fc import PartialFC

SHORTEST = 1e-12  # a mean's norm up to this is rounding; `normalize` too divides by no less
AT_ONCE = 65_536  # classes of the other run whose centres are in memory at a time


@torch.no_grad()
def begin_at_means(head: PartialFC, means: Iterable[Means]) -> int:
    """Let each class begin at its mean embedding; returns how many classes of all ranks do.

    A centre gets the mean's direction and keeps the norm that it began with, by which it moves as fast as one
    that began at random. Classes without images keep their rows, and so do those whose mean has no direction:
    it is 0 but for rounding (a norm up to 1e-12), or not finite. With sub-centres all but the first of each
    class stay.
    """
    count = 0
    for block in means:
        found = (block.images > 0) & _has_direction(block.means)
        count += int(found.sum())
        first, last = max(block.start, head.shard.start), min(block.start + len(found), head.shard.stop)
        if first >= last:
            continue
        mine = slice(first - block.start, last - block.start)
        rows = _sub_centres(head)[first - head.shard.start : last - head.shard.start, 0]
        norms = rows.double().norm(dim=1, keepdim=True)
        moved = (normalize(block.means[mine], dim=1) * norms).to(rows)
        rows.copy_(torch.where(found[mine, None], moved, rows))
    return count


def _has_direction(means: Tensor) -> Tensor:
    """means [k, D] -> bool [k]."""
    norms = torch.linalg.vector_norm(means, dim=1)
    has_direction: Tensor = norms.isfinite() & (norms > SHORTEST)
    return has_direction


@torch.no_grad()
def take_over_centres(head: PartialFC, names: Sequence[str], run: Path) -> int:
    """Let each class begin at the centre that it has in another run; returns how many classes do; collective.

    names: of this head's classes by their ids, from which further ones may be missing; they are the same
    class where the other run has the same name. run: its folder, or one of its checkpoints. Of several
    sub-centres as many are taken as both have. All other rows stay, and biases too.

    Raises CheckpointError where there is no undamaged checkpoint, it has embeddings of another size, or the
    run does not know the names of its classes; ConfigError where no class has the same name.
    """
    checkpoint = find_checkpoint(run, head.world)
    with together(head.world):
        saved, known = open_centres(checkpoint, embedding_size=head.embedding_size)
        ids = _ids_there(names, known)
        if not (ids >= 0).any():
            raise ConfigError(
                f"no class has the name of one of {run}: {names[0]!r} and others here, {known[0]!r} and "
                "others there; let the centres begin at means"
            )
        _copy(head, ids, saved)
    return int((ids >= 0).sum())


def open_centres(checkpoint: Path, *, embedding_size: int) -> tuple[SavedCentres, Sequence[str]]:
    """The centres of a checked checkpoint, and the names of its classes.

    Raises CheckpointError where it has embeddings of another size, or its run does not know those names.
    """
    state = read_state(checkpoint)
    size = SavedNetwork.of(checkpoint, state).embedding_size
    if size != embedding_size:
        raise CheckpointError(
            f"{checkpoint} has embeddings of size {size}, and this run of {embedding_size}: "
            f"set backbone.embedding_size to {size}"
        )
    known = names_of_checkpoint(checkpoint, num_classes=state["num_classes"])
    if known is None:
        raise CheckpointError(
            f"the run of {checkpoint} does not know its classes by name (it has no classes.json), so none of "
            "its centres can be taken over; let the centres begin at means"
        )
    return SavedCentres(checkpoint, state, embedding_size=size), known


def _ids_there(names: Sequence[str], known: Sequence[str]) -> npt.NDArray[np.int64]:
    """[n], the id that each name has in `known`, or -1."""
    ids = {name: index for index, name in enumerate(known)}
    return np.array([ids.get(name, -1) for name in names], np.int64)


def _copy(head: PartialFC, ids: npt.NDArray[np.int64], saved: SavedCentres) -> None:
    mine = ids[head.shard.start : head.shard.stop]
    rows = _sub_centres(head)
    count = min(rows.shape[1], saved.per_class)
    order = np.argsort(mine, kind="stable")
    order = order[mine[order] >= 0]
    while len(order):
        first = int(mine[order[0]])
        some = order[: int(np.searchsorted(mine[order], first + AT_ONCE))]
        there = saved.read(first, int(mine[some[-1]]) + 1).view(-1, saved.per_class, head.embedding_size)
        taken = there[torch.from_numpy(mine[some] - first), :count]
        rows[torch.from_numpy(some).to(rows.device), :count] = taken.to(rows)
        order = order[len(some) :]


def _sub_centres(head: PartialFC) -> Tensor:
    """This rank's centres as they lie in memory [C_l, k, D]."""
    weight = head.weight.detach()
    return weight.view(len(weight), -1, head.embedding_size)
