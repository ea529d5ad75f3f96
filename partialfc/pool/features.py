"""The features of a pool's classes, a shard of them or all on each rank, and the order of their writing."""

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from partialfc.distributed.accelerator import on_device
from partialfc.distributed.world import World
from partialfc.head.agreement import WRITE, Agreed, agree_on_batch
from partialfc.head.kernels.compiled import outside_graphs
from partialfc.head.kernels.storage import Stored
from partialfc.head.rows import Kind, Rows, part
from partialfc.head.shard import ClassShard
from partialfc.head.surroundings import check_surroundings, outside_modes, world_for_pickled
from partialfc.head.whose import KEY, check_note, note
from partialfc.pool.recent_classes import RecentClasses
from partialfc.pool.writing import NO_FEATURE, last_of_each, put


class PoolFeatures(nn.Module):
    """One rank's `features` [Q_l, k·D] of a pool's Q slots, and which class lies in each of all slots.

    kind: how rows enter the products, k features to a class. DynamicClassPool is the only one of its kind.
    """

    features: Tensor
    _turns: Tensor
    _digest: int  # of all that must be the same on every rank

    def __init__(
        self,
        embedding_size: int,
        size: int,
        *,
        world: World,
        sharded: bool,
        kind: Kind,
        feature_dtype: torch.dtype,
        math_dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.embedding_size, self.size = embedding_size, size
        self.world, self.sharded, self.kind, self.math_dtype = world, sharded, kind, math_dtype
        self.shard = ClassShard(size, world.rank, world.size) if sharded else ClassShard(size, 0, 1)
        shape = (len(self.shard), kind.per_row * embedding_size)
        self.register_buffer("features", torch.zeros(shape, dtype=feature_dtype, device=device))
        self.step = 0
        self.recent = RecentClasses(size)
        turns = torch.full((size,), NO_FEATURE, device=device)  # which of a class's k features is next
        self.register_buffer("_turns", turns, persistent=False)  # order_state has it
        self.register_load_state_dict_pre_hook(_check_whose)  # type: ignore[no-untyped-call]

    @property
    def count(self) -> int:
        return self.recent.count

    @property
    def classes(self) -> Tensor:
        """[count], the classes in the pool, the one that was written longest ago first."""
        state = self.recent.state()
        return torch.from_numpy(state["classes"][state["order"]])

    @outside_graphs
    def write(self, features: Tensor, labels: Tensor) -> None:
        """Give classes their features; they are then the ones used last. Every rank calls it together.

        Of several features of a class the last one counts, in the order of ranks. A feature that is not
        finite leaves the class with what it had, which is 0 for a class that comes anew. A class keeps its
        last k finite features; while it has had fewer, its first stands for the others. A skipped step needs
        no undoing: the features of its images are good, or are not taken.

        Args:
            features (Tensor): [B, D] of float32, float64, bfloat16 or float16 on the pool's device, without a
                gradient; B may differ between ranks, and be 0.
            labels (Tensor): [B] int64, class ids from 0 on; -1 leaves a feature out.

        Raises:
            LabelError: on every rank together, for a label below -1.
            ValueError: for a wrong type, shape, dtype or device; on every rank together for more different
                classes than the pool has room for.
            DistributedError: for another rank's wrong argument, or where ranks disagree on what this call is.
        """
        check_surroundings(self, self.world, what="class pool")
        with outside_modes(self.features.device):
            agreed = self._agreed(features, labels, WRITE, False)
            which = last_of_each(agreed.labels)
            if len(which) > self.size:
                raise ValueError(
                    f"a write of {len(which)} classes into a pool of size {self.size}: it must have room for "
                    "those of one batch, so raise size, or write fewer at a time"
                )
            index = on_device(torch.from_numpy(which), features.device)
            rows = self._gathered(features, agreed)[index]
            taken = self.recent.take(agreed.labels[which])
            lines = self.features.view(-1, self.kind.per_row, self.embedding_size)
            put(lines, self._turns, taken, self.shard, rows)

    def _agreed(self, embeddings: Tensor, labels: Tensor, method: int, wants_gradient: bool) -> Agreed:
        return agree_on_batch(
            self.world,
            embeddings,
            labels,
            None,
            embedding_size=self.embedding_size,
            num_classes=None,
            device=self.features.device,
            mode=(self.training << 1) | wants_gradient,
            head_digest=self._digest,
            method=method,
        )

    def _gathered(self, features: Tensor, agreed: Agreed) -> Tensor:
        """All ranks' valid features [N, D], as they are stored; collective."""
        sent = features.detach()
        if len(agreed.valid) < len(sent):
            sent = sent[on_device(torch.from_numpy(agreed.valid), sent.device)]
        return self.world.all_gather_rows(sent, agreed.counts).to(self.features.dtype)

    @property
    def stored(self) -> Stored:
        return self.kind.lines(Stored(self.features))

    @property
    def rows(self) -> Rows:
        """This rank's slots that hold a class."""
        filled = min(max(self.count - self.shard.start, 0), len(self.shard)) * self.kind.per_row
        return Rows(part(self.stored, 0, filled), None, None, None, None, self.math_dtype, self.kind)

    def get_extra_state(self) -> dict[str, Any]:
        return {"step": self.step, KEY: note(self.shard), **self.order_state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.restore_order(state)

    def order_state(self) -> dict[str, Tensor]:
        """What beside the features a checkpoint holds, equal on every rank: int64, O(Q).

        classes [Q]: the class in each slot, -1 for none; order [count]: the slots, the one that was written
        longest ago first; turns [Q], on the pool's device: which of a class's k features is written next, -1
        where it has had none that is finite.
        """
        state = {name: torch.from_numpy(values) for name, values in self.recent.state().items()}
        return {**state, "turns": self._turns.clone()}

    def restore_order(self, state: Mapping[str, Tensor]) -> None:
        """Become what `order_state` gave, at any world size. Raises ValueError for another pool's."""
        classes, order, turns = (
            state[name].cpu().numpy().astype(np.int64) for name in ("classes", "order", "turns")
        )
        if len(turns) != self.size or ((turns < NO_FEATURE) | (turns >= self.kind.per_row)).any():
            raise ValueError(
                f"the pool's turns {list(turns.shape)} are not those of a pool of {self.size} slots"
            )
        self.recent.restore(classes, order)
        self._turns.copy_(torch.from_numpy(turns))

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which keep no process group."""
        return self.__dict__ | {"world": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """From a pickle: the pool joins the default process group, where this rank must have these slots."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.world = world_for_pickled(self.shard, "class pool") if self.sharded else World.of()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy in the same process group."""
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__getstate__(), memo), world=self.world)
        return copied


def _check_whose(pool: PoolFeatures, state: Mapping[str, Any], prefix: str, *_: object) -> None:
    """Before a state is loaded: ValueError for other slots' features."""
    extra = state.get(f"{prefix}_extra_state")
    check_note(extra.get(KEY) if isinstance(extra, Mapping) else None, note(pool.shard))
