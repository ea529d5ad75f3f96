"""The least a step could take with this machine's own matrix products and copies.

Two terms, measured apart and added:

- the three matrix products of [N, D, K] that a step cannot do without (cosines; the pull on the embeddings;
  the push on the centres), each in the fastest of its plain `torch.mm` forms: either layout of the
  exponentials, either layout of the result, whole or in chunks of 1k to 16k rows. A chunked form uses the
  same operands for every chunk, so that they lie in cache: the second term counts what memory costs;
- the fewest bytes: the first pass reads K rows of centres; the second reads and writes K rows of centres and
  of momentum; at the rate of a large `Tensor.copy_`, bytes read and written.

Nothing is counted for the exponentials, the normalisation, the sampling or a row's bookkeeping.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from work import Work

from partialfc.distributed.accelerator import synchronize

NAME = "floor"
# The parts of a step: the three products, and the two passes over the rows.
GATHER, COSINES, PULL, PUSH, UPDATE = "gather", "cosines", "pull", "push", "update"
PRODUCTS = (COSINES, PULL, PUSH)
CHUNKS = (1024, 2048, 4096, 8192, 16384)
COPY_BYTES = 512 << 20
TRIAL_ROWS = 16384  # enough to tell the forms apart


@dataclass(frozen=True)
class Form:
    """One way to compute a product, `chunk` rows of centres at a time."""

    name: str
    chunk: int
    product: Callable[[], object]
    device: torch.device

    def seconds(self, rows: int) -> float:
        """Seconds for `rows` centres; a last chunk that is not full counts for its share."""
        count = max(1, rows // self.chunk)
        synchronize(self.device)
        started = time.perf_counter()
        for _ in range(count):
            self.product()
        synchronize(self.device)
        return (time.perf_counter() - started) * rows / (count * self.chunk)


class Floor:
    """A subject whose step is the floor of one step of `work`."""

    def __init__(self, work: Work, rank: int) -> None:
        self.work = work
        self._forms: list[Form] = []
        size = min(COPY_BYTES, 64 * fewest_bytes(work)) // 4
        self._device = torch.device(work.device)
        self._source, self._copy = (torch.ones(size, device=self._device) for _ in range(2))
        self._parts: list[dict[str, float]] = []
        self._rates: list[float] = []

    def step(self) -> float:
        rows = self.work.rows
        if not self._forms:
            self._forms = [_fastest(forms, rows) for forms in _products(self.work)]
        parts = {part: form.seconds(rows) for part, form in zip(PRODUCTS, self._forms, strict=True)}
        synchronize(self._device)
        started = time.perf_counter()
        self._copy.copy_(self._source)
        synchronize(self._device)
        rate = 2 * self._source.nbytes / (time.perf_counter() - started)
        parts |= {part: count / rate for part, count in _bytes(self.work).items()}
        self._parts.append(parts)
        self._rates.append(rate)
        return sum(parts.values())

    def parts(self, steps: int) -> dict[str, float]:
        """The median seconds of each part over the last `steps` steps."""
        last = self._parts[-steps:]
        return {part: statistics.median(each[part] for each in last) for part in last[0]}

    def facts(self) -> dict[str, Any]:
        return {
            "products_s": statistics.median(sum(each[part] for part in PRODUCTS) for each in self._parts),
            "bytes_per_s": statistics.median(self._rates),
            "products": "; ".join(f"{form.name} by {form.chunk} rows" for form in self._forms),
        }


def fewest_bytes(work: Work) -> int:
    return sum(_bytes(work).values())


def _bytes(work: Work) -> dict[str, int]:
    row = work.rows * work.embedding
    stored = work.storage.itemsize
    return {GATHER: row * stored, UPDATE: 2 * row * (stored + work.momentum.itemsize)}


def _fastest(forms: Iterator[Form], rows: int) -> Form:
    """The fastest for the same number of rows; the forms are made one by one, to save memory."""
    best, least = None, float("inf")
    for form in forms:
        form.product()
        seconds = min(form.seconds(min(rows, TRIAL_ROWS)) for _ in range(2))
        if seconds < least:
            best, least = form, seconds
    assert best is not None
    return best


def _products(work: Work) -> list[Iterator[Form]]:
    """PRODUCTS: cosines [N, K], pull on the embeddings [N, D], push on the centres [K, D]; None is K.

    Embeddings and centres lie row by row; the exponentials may lie either way.
    """
    n, d = work.batch_here, work.embedding
    return [
        _forms(work, "x @ c.T", (n, d, None), a_turned=(False,), b_turned=True),
        _forms(work, "E @ c", (n, None, d), a_turned=(False, True), b_turned=False),
        _forms(work, "E.T @ x", (None, n, d), a_turned=(False, True), b_turned=False),
    ]


def _forms(
    work: Work, name: str, sizes: tuple[int | None, ...], *, a_turned: tuple[bool, ...], b_turned: bool
) -> Iterator[Form]:
    """a [m, i] @ b [i, n] of sizes (m, i, n), with other chunks and layouts; "turned" is column by column."""
    for chunk in sorted({min(chunk, work.rows) for chunk in (*CHUNKS, work.rows)}):
        m, i, n = (chunk if size is None else size for size in sizes)
        b = _matrix(i, n, b_turned, work)
        for turned in a_turned:
            a = _matrix(m, i, turned, work)
            yield Form(name, chunk, _product(a, b), a.device)
            yield Form(f"({name}).T", chunk, _product(b.T, a.T), a.device)


def _product(a: Tensor, b: Tensor) -> Callable[[], object]:
    return partial(torch.mm, a, b, out=a.new_empty(a.shape[0], b.shape[1]))


def _matrix(rows: int, columns: int, turned: bool, work: Work) -> Tensor:
    if turned:
        return torch.rand(columns, rows, device=work.device).to(work.compute).T
    return torch.rand(rows, columns, device=work.device).to(work.compute)
