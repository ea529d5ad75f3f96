"""Whether an exported file gives what the network gives; otherwise it is not left."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.errors import ExportError, in_one_line

TOLERANCE = 1e-4  # of a row's largest number, where that is above 1
COMPARED = 4  # batches of a calibration
BATCHES = (1, 2, 5)  # of images, so that a batch size that was built in is noticed

Rows = Sequence[npt.NDArray[np.float32]]
Run = Callable[[Tensor], Rows]


class Given(Protocol):
    """What a file is compared with: a graph of torch, or of another file."""

    @property
    def outputs(self) -> Sequence[str]: ...

    def examples(self, count: int, *, seed: int = 0) -> Tensor: ...

    def rows(self, images: Tensor) -> Rows: ...


def largest_difference(graph: Given, run: Run, *, what: Path) -> float:
    """Between what the file gives by `run` and what the network gives, of a few images in several batches.

    Raises ExportError where it is above TOLERANCE, or a batch does not go through.
    """
    largest = 0.0
    for count in BATCHES:
        images = graph.examples(count, seed=count)
        try:
            found = run(images)
        except Exception as error:  # whatever the other library raises
            raise ExportError(
                f"{what}: a batch of {count} does not go through it: {in_one_line(error)}"
            ) from error
        for name, own, theirs in zip(graph.outputs, graph.rows(images), found, strict=True):
            if own.shape != theirs.shape:
                raise ExportError(f"{what}: {name} of {count} images are {theirs.shape}, and not {own.shape}")
            largest = max(largest, difference(own, theirs))
    if not largest <= TOLERANCE:
        raise ExportError(
            f"{what}: it gives other rows than the network, by {largest:.2e}, and at most {TOLERANCE:g} is "
            "allowed; nothing was written"
        )
    return largest


def least_cosine(graph: Given, run: Run, batches: Iterable[npt.NDArray[Any]]) -> float:
    """Between a row that a file gives by `run` and the network's, of the first images of some batches.

    A row that is zero or not finite has 0 with any other.
    """
    least = 1.0
    for images in islice(batches, COMPARED):
        given = torch.from_numpy(images)
        own, theirs = (np.nan_to_num(rows[0].astype(np.float64)) for rows in (graph.rows(given), run(given)))
        norms = np.linalg.norm(own, axis=1) * np.linalg.norm(theirs, axis=1)
        least = min(least, float(((own * theirs).sum(1) / np.maximum(norms, np.finfo(float).tiny)).min()))
    return least


def difference(own: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> float:
    """Rows [n, D] and others: the largest difference, in units of a row's largest number where above 1."""
    if not np.isfinite(theirs).all():
        return float("inf")
    unit = np.maximum(1.0, np.abs(own).max(axis=1, keepdims=True))
    return float((np.abs(own - theirs) / unit).max())
