"""DynamicClassPool: a margin softmax over the classes seen last, whose features stand for them."""

import functools
import zlib

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from partialfc.distributed.accelerator import is_accelerator
from partialfc.distributed.device import usable_device
from partialfc.distributed.world import World
from partialfc.head.agreement import POOL
from partialfc.head.arguments import at_least, one_of, whole
from partialfc.head.attached import loss_of_rows
from partialfc.head.dtypes import check_dtypes, math_dtype_of
from partialfc.head.kernels.buffers import Pool
from partialfc.head.kernels.compiled import outside_graphs, worth_compiling
from partialfc.head.margin_rules import check_margin, check_successor, take_over
from partialfc.head.margins.base import Margin
from partialfc.head.rows import Kind
from partialfc.head.softmax import Softmax
from partialfc.head.step import gather
from partialfc.head.surroundings import check_surroundings, world_of
from partialfc.pool.classified import Place, classified_loss, own_part, part_of
from partialfc.pool.features import PoolFeatures
from partialfc.pool.hard_negatives import hard_negative_loss
from partialfc.pool.recent_classes import NOWHERE

ALONE = World(None, 0, 1)


class DynamicClassPool(PoolFeatures):
    """A margin softmax over a pool of Q classes, those whose features were written last, in place of all C.

    In each step `pool.write(features, labels)` gives classes their features, from a `GalleryNetwork` that
    follows the network in training, and `pool(embeddings [B, D], labels [B])` is the loss of other images:

        loss = softmax + weight · hard_negatives

    softmax: the mean margin softmax, over the pool's classes, of the samples whose class is in the pool.
    hard_negatives: for the samples whose class is not, the mean of max(0, cos) to the `hard_negatives`
    nearest classes in the pool. Each is 0 where there is no such sample. Wang et al. 2022, "An Efficient
    Training Approach for Very Large Scale Face Recognition" (arXiv:2105.10375): the Dynamic Class Pool and
    its two losses, `add_margin` in ffc_ddp.py of its code.

    The features get no gradient. Of a full pool the classes that were written longest ago make room. Memory
    is O(Q · D), whatever the number of classes: class ids may be any numbers from 0 on.

    Like `PartialFC`, the loss is the same number on every rank, and backward gives each rank the gradient of
    its own embeddings, times the world size, for the averaging of DistributedDataParallel. Build it after
    torch.distributed.init_process_group, and keep it out of DistributedDataParallel. Labels are best given on
    the CPU, where the pool's order of classes is kept: then nothing waits for an accelerator.

    Args:
        embedding_size (int): D, the numbers in an embedding; at least 1.
        size (int): Q, the classes in the pool; at least the different classes of one `write`.
        margin (Margin): How logits follow from cosines, such as `CosFace()`; any but one with a bias. With
            `SubCenter(k=...)` the pool keeps the last k features of each class.
        hard_negatives (int | None): k, the nearest classes of a sample whose class is not in the pool; at
            least 1, at most Q. None (default): Q / 5000, at least 3 and at most 10, as in the published code.
        weight (float): Of the hard-negative loss, at least 0. Default 1.
        shard (bool): Keep on each rank its part of the features alone, Q / W of them, and exchange embeddings
            of D numbers a sample. Default False: each rank has all, and exchanges features only.
        feature_dtype (torch.dtype): How features are stored: float32 (default), float64 or bfloat16.
        compute_dtype (torch.dtype): What the matrix products run in, as of `PartialFC`.
        seed (int): At least 0: what a margin's draws are keyed by. Default 0.
        compile (bool | None): Compile the element-wise parts, as of `PartialFC`; None (default) decides by
            the size.
        device (torch.device | str | int | None): Where the features are; None (default) for torch's default
            device.
        process_group (torch.distributed.ProcessGroup | None): The ranks of the global batch; None (default)
            for the default group, or this process alone where there is none.

    Attributes:
        features (Tensor): [Q, k·D], or with `shard` this rank's [Q_l, k·D]; a buffer.
        shard (ClassShard): Which of the Q slots they are.
        sharded (bool): Whether they are not all of them.
        count (int): How many classes the pool has now.
        step (int): How many training forwards there were; saved with the pool.
        last_terms (Tensor): [2], softmax and hard_negatives of the last batch.
        last_found (tuple[int, int]): Of how many samples of the last global batch the class was in the pool,
            and of how many it was not.

    Raises:
        ValueError: for an argument of another type or out of its range, or a margin that it cannot use.
    """

    def __init__(
        self,
        embedding_size: int,
        size: int,
        *,
        margin: Margin,
        hard_negatives: int | None = None,
        weight: float = 1.0,
        shard: bool = False,
        feature_dtype: torch.dtype = torch.float32,
        compute_dtype: torch.dtype = torch.float32,
        seed: int = 0,
        compile: bool | None = None,
        device: torch.device | str | int | None = None,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        embedding_size = whole("embedding_size", embedding_size, least=1)
        size = whole("size", size, least=1)
        usual = min(max(size // 5000, 3), 10, size)
        hard_negatives = usual if hard_negatives is None else whole("hard_negatives", hard_negatives, least=1)
        if hard_negatives > size:
            raise ValueError(
                f"hard_negatives is {hard_negatives}; it must be at most size, {size}, as no more classes "
                "than the pool holds can be the nearest"
            )
        weight = at_least("weight", weight, 0.0)
        one_of("shard", shard, (False, True))
        check_dtypes(weight=feature_dtype, compute=compute_dtype, gather=None)
        seed = whole("seed", seed, least=0)
        one_of("compile", compile, (None, False, True))
        world = world_of(process_group)
        check_margin(margin, compute_dtype)
        if margin.bias:
            raise ValueError(
                f"margin {margin!r} has a bias, which a gradient would have to move, and a pool has none: "
                "leave it out"
            )
        super().__init__(
            embedding_size,
            size,
            world=world,
            sharded=shard,
            kind=Kind(margin.normalises_centres, margin.sub_centers),
            feature_dtype=feature_dtype,
            math_dtype=math_dtype_of(compute_dtype),
            device=usable_device("device", device),
        )
        self.margin = margin.to(self.features.device)
        self.hard_negatives, self.weight, self.seed = hard_negatives, weight, seed
        self.compute_dtype = compute_dtype
        narrow = torch.bfloat16 in (feature_dtype, compute_dtype)
        worth_it = worth_compiling(self.features.numel(), narrow=narrow)
        self.compiled = worth_it if compile is None else compile
        self.last_terms = torch.zeros(2, dtype=self.math_dtype, device=self.features.device)
        self.last_found = (0, 0)
        self._memory = Pool()
        self._about_margin()

    def reconfigure(self, *, margin: Margin, settled: bool = False) -> None:
        """Take another margin of the same class between steps, on every rank alike, as of `PartialFC`.

        Raises:
            ValueError: for a margin of another class. Nothing is changed then.
        """
        if margin is not self.margin:
            check_margin(margin, self.compute_dtype)
            check_successor(margin, self.margin, class_margins=False)
            take_over(margin, self.margin)
            self.margin = margin
            self._about_margin()

    @outside_graphs
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss over the valid samples of all ranks. Every rank calls it together.

        Args:
            embeddings (Tensor): [B, D] of float32, float64, bfloat16 or float16 on the pool's device; B may
                differ between ranks, and be 0. Their gradient has their dtype. One of norm 0 has
                cosines of 0, and the gradient that torch.nn.functional.normalize and `PartialFC` give: that
                by the direction, divided by 1e-12.
            labels (Tensor): [B] int64, class ids from 0 on; -1 ignores a sample.

        Returns:
            Tensor: A scalar, the same on every rank; 0 where no sample is valid, or the pool is empty.

        Raises:
            LabelError: on every rank together, for a label below -1.
            ValueError: for a wrong type, shape, dtype or device.
            DistributedError: for another rank's wrong argument, or where ranks disagree on what this call is.
        """
        check_surroundings(self, self.world, training=self.training, what="class pool")
        compute = functools.partial(self._compute, embeddings, labels)
        return loss_of_rows(embeddings, self.features.device, compute)

    def _compute(
        self, embeddings: Tensor, labels: Tensor, wants_gradient: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The loss, and its gradient by this rank's embeddings [B, D] times W if wanted; collective."""
        agreed = self._agreed(embeddings, labels, POOL, wants_gradient)
        all_slots = self.recent.find(agreed.labels)
        found = int(np.count_nonzero(all_slots != NOWHERE))
        self.last_found = found, len(all_slots) - found
        world, part = (self.world, agreed) if self._together else (ALONE, own_part(agreed, self.world))
        batch = gather(
            world, embeddings, part, gather_dtype=None, math_dtype=self.math_dtype, fused=self._fused
        )
        slots = self.recent.find(batch.labels)
        terms, gradients = batch.unit.new_zeros(2), []
        if found:
            inside = np.flatnonzero(slots != NOWHERE)
            by_rank = np.repeat(np.arange(self.world.size), agreed.counts)[all_slots != NOWHERE]
            terms[0], gradient = classified_loss(
                world,
                self.world,
                self._softmax,
                part_of(batch, inside, world, total=found),
                slots[inside],
                self.rows,
                self.shard,
                Place(self.seed, self.step, self.training),
                counts=np.bincount(by_rank, minlength=self.world.size).tolist(),
                classes=agreed.labels[all_slots != NOWHERE],
                wants_gradient=wants_gradient,
            )
            gradients.append((1.0, gradient))
        if self.count and self.last_found[1]:
            outside = np.flatnonzero(slots == NOWHERE)
            terms[1], gradient = hard_negative_loss(
                world,
                self._softmax,
                part_of(batch, outside, world, total=self.last_found[1]),
                self.rows,
                k=min(self.hard_negatives, self.count),
                total=self.last_found[1],
                wants_gradient=wants_gradient,
            )
            gradients.append((self.weight, gradient))
        if self.training:
            self.step += 1
        if not self._together:
            terms = self.world.all_reduce_sum(terms)
        self.last_terms = terms
        loss = terms[0] + self.weight * terms[1]
        if not wants_gradient:
            return loss, None
        times = 1 if self._together else self.world.size
        total = batch.unit.new_zeros(embeddings.shape)
        for factor, gradient in gradients:
            assert gradient is not None
            total.add_(gradient, alpha=factor * times)
        return loss, total

    @property
    def _together(self) -> bool:
        """Whether the ranks compute each sample's loss together, each with its rows."""
        return self.sharded and self.world.size > 1

    @property
    def _fused(self) -> bool:
        return self.compiled and is_accelerator(self.features.device)

    @property
    def _softmax(self) -> Softmax:
        return Softmax(self.margin, self.compute_dtype, self.compiled, self._fused, self._memory)

    def _about_margin(self) -> None:
        about = (self.embedding_size, self.size, self.hard_negatives, self.weight, self.sharded, self.seed)
        dtypes = (self.features.dtype, self.compute_dtype)
        self._digest = zlib.crc32(repr((*about, *dtypes, repr(self.margin))).encode())

    def extra_repr(self) -> str:
        return (
            f"embedding_size={self.embedding_size}, size={self.size}, hard_negatives={self.hard_negatives}, "
            f"weight={self.weight}, slots {self.shard.start}..{self.shard.stop - 1} here"
        )
