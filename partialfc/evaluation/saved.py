"""Embeddings as files, for what else is to be done with them."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from partialfc.distributed.together import together
from partialfc.distributed.world import World
from partialfc.files import replacing

EMBEDDINGS, KEYS = "embeddings.npy", "keys.txt"
ROWS = 1 << 14  # of each rank that are in memory on the first one at a time


def save_embeddings(folder: Path, rows: torch.Tensor, keys: Iterable[str], world: World) -> None:
    """Write EMBEDDINGS in `folder`, float32 [N, D] of all ranks in order, and KEYS, a key a line.

    rows [n, D]: this rank's, on the CPU; keys [N]. The first rank writes. Collective; an OSError of it is
    raised on every rank.
    """
    counts = world.gather_integers([len(rows)])[:, 0]
    starts = np.cumsum(counts) - counts
    file = None
    with ExitStack() as stack:
        with together(world):
            if world.rank == 0:
                folder.mkdir(parents=True, exist_ok=True)
                with replacing(folder / KEYS) as beside:
                    beside.write_text("".join(f"{key}\n" for key in keys), errors="surrogateescape")
                path = stack.enter_context(replacing(folder / EMBEDDINGS))
                shape = (int(counts.sum()), rows.shape[1])
                file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        for first in range(0, int(counts.max()), ROWS):
            sizes = np.clip(counts - first, 0, ROWS)
            part = world.all_gather_rows(rows[first : first + ROWS].float(), sizes.tolist())
            if file is not None:
                places = np.concatenate(
                    [np.arange(size) + start + first for size, start in zip(sizes, starts, strict=True)]
                )
                file[places] = part.numpy()
        if file is not None:
            file.flush()
