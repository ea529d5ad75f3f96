"""The centre loss: embeddings come to the centre of their class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.distributed.device import usable_device
from partialfc.distributed.world import World
from partialfc.head.arguments import above, one_of, whole
from partialfc.head.partial_fc import PartialFC
from partialfc.head.shard import ClassShard
from partialfc.head.surroundings import check_surroundings, world_for_pickled, world_of
from partialfc.head.whose import KEY, check_note, note
from partialfc.losses.batch_loss import Batch, BatchLoss
from partialfc.losses.geometry import unit

DTYPES = (torch.float32, torch.float64)


class CenterLoss(BatchLoss):
    """Centre loss: the mean of 1/2 ||x - c_y||^2 over the valid samples of the global batch.

    Wen, Zhang, Li and Qiao 2016, "A Discriminative Feature Learning Approach for Deep Face Recognition",
    equation 2, whose sum over the batch is a mean here. Its weight beside the mean softmax loss is the
    paper's lambda (equation 5), such as 0.003.

    Its own centres are sharded by class as the head's. They begin at 0, get no gradient, and move once after
    each forward in training mode, as equation 4 and algorithm 1 say: c_j <- c_j - alpha · sum_j / (1 + n_j),
    where sum_j is that of c_j - x over the n_j samples of class j in the global batch. Each rank moves the
    centres of its own shard, and touches no others than those of the batch's classes. In eval mode, and where
    the loss is not finite, they stay.

    With `head`, the head's centres take their place: CenterLoss(head=head). Of these only the direction
    counts, so x and c_y are both taken with norm 1, and the term is 1 - cos; of a class's several centres it
    is the nearest. The centres are as they are in that moment, and get no gradient of it: the head's own loss
    alone moves them.

    Like the head, build it after torch.distributed.init_process_group, and keep it out of
    DistributedDataParallel, which would overwrite every shard with rank 0's. See
    :class:`partialfc.BatchLoss` for its call; labels lie in 0..num_classes-1.

    Args:
        embedding_size (int | None): D, at least 1; None with head.
        num_classes (int | None): C, at least 1; None with head.
        alpha (float | None): How far a centre moves to the mean of its samples, in (0, 1]; None (default) for
            0.5, and with head.
        normalise (bool): Take embeddings with norm 1, so that centres are means of such. Default False, as in
            the paper.
        head (PartialFC | None): Whose centres to take in place of own ones; None (default): own ones.
        dtype (torch.dtype): Of its own centres: float32 (default) or float64.
        device (torch.device | str | int | None): Where its own centres are; None (default) for torch's
            default device.
        process_group (torch.distributed.ProcessGroup | None): The ranks that share the classes; None
            (default) for the default group, or this process alone where there is none; with head, its own.

    Attributes:
        centres (Tensor | None): [C_l, D], this rank's own centres, a buffer; None with head. `state_dict` has
            them, and `load_state_dict` raises ValueError for those of another rank, number of ranks or class
            count.
        shard (ClassShard): The range of classes that they are.

    Raises:
        ValueError: for an argument of another type or out of its range, or one that does not go with head.
    """

    def __init__(
        self,
        embedding_size: int | None = None,
        num_classes: int | None = None,
        *,
        alpha: float | None = None,
        normalise: bool = False,
        head: PartialFC | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | int | None = None,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        if head is None:
            size = whole("embedding_size", embedding_size, least=1)
            classes = whole("num_classes", num_classes, least=1)
            world = world_of(process_group)
        else:
            if not isinstance(head, PartialFC):
                raise ValueError(f"head is {head!r}; it must be a PartialFC, or None for centres of its own")
            given = {"embedding_size": embedding_size, "num_classes": num_classes, "alpha": alpha}
            for name, value in {**given, "process_group": process_group, "device": device}.items():
                if value is not None:
                    raise ValueError(f"{name} is {value!r}; with head it must be None: the head has its own")
            size, classes, world = head.embedding_size, head.shard.num_classes, head.world
        alpha = above("alpha", 0.5 if alpha is None else alpha, 0.0, at_most=1.0)
        normalise = one_of("normalise", normalise, (False, True)) or head is not None
        one_of("dtype", dtype, DTYPES)
        super().__init__(world, (size, classes, alpha, normalise, dtype, head is None))
        self.embedding_size, self.num_classes = size, classes
        self.shard = ClassShard(classes, world.rank, world.size)
        self.alpha = alpha
        self.normalise = normalise
        self._head = (head,)  # in a tuple, so that it is no part of this module
        self._before: list[tuple[Tensor, Tensor]] | None = None
        centres = None
        if head is None:
            centres = torch.zeros(len(self.shard), size, dtype=dtype, device=usable_device("device", device))
        self.centres: Tensor | None
        self.register_buffer("centres", centres)
        self.register_load_state_dict_pre_hook(_check_whose)  # type: ignore[no-untyped-call]

    @property
    def head(self) -> PartialFC | None:
        """Whose centres it takes; None: it has its own."""
        return self._head[0]

    @property
    def _where(self) -> Tensor:
        """The tensor whose device and dtype the loss follows."""
        if self.centres is not None:
            return self.centres
        assert self.head is not None
        return self.head.weight

    def check(self) -> None:
        check_surroundings(self, self.world, training=self.training and self.head is None, what="loss")
        if self.head is not None:
            self.head.check_whole()

    def device_for(self, rows: Tensor) -> torch.device:
        return self._where.device

    def math_dtype_for(self, embeddings: Tensor) -> torch.dtype:
        wide = torch.float64 in (embeddings.dtype, self._where.dtype)
        return torch.float64 if wide else torch.float32

    def parts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Each rank has the samples whose class is in its shard."""
        samples, rows = self._here(batch)
        embeddings = batch.embeddings[on_device(torch.from_numpy(samples), batch.embeddings.device)]
        if self.normalise:
            embeddings = unit(embeddings)
        terms = (embeddings - self._centres_for(embeddings.detach(), rows)).square() / 2
        return terms.sum()[None], terms.new_full((1,), len(samples))

    @torch.no_grad()
    def finish(self, batch: Batch, value: Tensor) -> None:
        """Move its own centres of the batch's classes; on the device nowhere where the loss is not finite."""
        samples, rows = self._here(batch)
        if self.centres is None or not self.training or not len(rows):
            return
        touched, which, counts = np.unique(rows, return_inverse=True, return_counts=True)
        device, dtype = self.centres.device, batch.embeddings.dtype
        index, place, picked, number = (
            on_device(torch.from_numpy(each.astype(np.int64)), device)
            for each in (touched, which, samples, counts)
        )
        before = self.centres[index]
        embeddings = batch.embeddings[picked]
        if self.normalise:
            embeddings = unit(embeddings)
        away = torch.zeros_like(before, dtype=dtype)
        away.index_add_(0, place, before.to(dtype)[place] - embeddings)
        if self._before is not None:
            self._before.append((index, before))
        moved = (before - self.alpha * away / (1 + number[:, None])).to(before.dtype)
        self.centres[index] = torch.where(value.isfinite(), moved, before)

    def keep(self) -> None:
        """From now on note the centres that move, so that `restore` can put them back."""
        self._before = []

    @torch.no_grad()
    def restore(self, where: Tensor | None = None) -> None:
        """Put back the centres that have moved since `keep`; if `where` [] is 0, none."""
        for index, before in reversed(self._before or []):
            assert self.centres is not None
            put_back = before if where is None else torch.where(where != 0, before, self.centres[index])
            self.centres[index] = put_back
        self._before = None

    def _here(self, batch: Batch) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The samples [T] whose class is in this shard, and its local row [T], ascending."""
        samples, rows = self.shard.locate(batch.classes)
        order = np.argsort(rows, kind="stable")
        return samples[order], rows[order]

    def _centres_for(self, embeddings: Tensor, rows: np.ndarray[Any, Any]) -> Tensor:
        """Embeddings [T, D] and their local rows [T], ascending -> their centres [T, D].

        Where they are the head's, of norm 1, and of a class's several the nearest.
        """
        if self.centres is not None:
            return self.centres[on_device(torch.from_numpy(rows), self.centres.device)].to(embeddings.dtype)
        assert self.head is not None
        of_classes = self.head.current_rows(rows).to(embeddings.dtype)
        centres = unit(of_classes.reshape(-1, embeddings.shape[1]))
        if len(centres) == len(embeddings):
            return centres
        several = centres.view(len(embeddings), -1, embeddings.shape[1])
        nearest = (several @ embeddings[:, :, None]).argmax(dim=1)
        return several.take_along_dim(nearest[:, :, None], dim=1).squeeze(1)

    def default_world(self) -> World:
        """The default process group, where this rank must be the one whose centres these are."""
        return world_for_pickled(self.shard, "loss")

    def get_extra_state(self) -> dict[str, Any]:
        return {KEY: note(self.shard)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Nothing to set: it was checked before."""

    def extra_repr(self) -> str:
        if self.head is not None:
            return "the head's centres"
        return (
            f"embedding_size={self.embedding_size}, num_classes={self.num_classes}, alpha={self.alpha}, "
            f"normalise={self.normalise}, classes {self.shard.start}..{self.shard.stop - 1} here"
        )


def _check_whose(loss: CenterLoss, state: Mapping[str, Any], prefix: str, *_: object) -> None:
    """Before a state is loaded: ValueError for another shard's centres."""
    extra = state.get(f"{prefix}_extra_state")
    check_note(extra.get(KEY) if isinstance(extra, Mapping) else None, note(loss.shard))
